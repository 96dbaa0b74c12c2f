"""The channels that the settings ask for. A new way to send warnings needs one entry here and a module."""

from __future__ import annotations

from pathlib import Path

from certstore.model.settings.models import NotifySettings
from certstore.notify.channel import Channel
from certstore.notify.mail import MailChannel
from certstore.notify.webhook import WebhookChannel


def open_channels(settings: NotifySettings, base: Path, edge: str) -> list[Channel]:
    """`edge` names this install in warnings; relative paths are relative to `base`, the folder of edge.yaml."""
    channels: list[Channel] = []
    if settings.smtp is not None:
        channels.append(MailChannel(settings.smtp, settings, base, edge))
    if settings.webhook is not None:
        channels.append(WebhookChannel(settings.webhook, base, edge))
    return channels
