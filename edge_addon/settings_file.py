"""Reads and parses edge.yaml, or raises one error that says what is wrong with it."""

from __future__ import annotations

from pathlib import Path

from certstore.model.settings.loading import SettingsError, parse_settings
from certstore.model.settings.models import Settings
from certstore.model.text import written_text

MAX_BYTES = 1 << 20
"""Far more than any settings need; reading an endless file would block the supervisor."""


class BadSettings(Exception):
    """The file is unreadable or invalid; the message names file, line, key, value and what is allowed."""


def load_settings(config: Path) -> Settings:
    """Raises BadSettings."""
    return settings_in(read_settings(config), config)


def read_settings(config: Path) -> str:
    """The text of the file. Raises BadSettings."""
    try:
        with config.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise BadSettings(f"can't read the settings {config}: the file has more than {MAX_BYTES} bytes")
        return written_text(content)
    except FileNotFoundError as error:
        remedy = "name the file with --config, or create one with: certedge init --host YOUR.HOST.NAME"
        raise BadSettings(f"can't read the settings {config}: there is no such file; {remedy}") from error
    except OSError as error:
        raise BadSettings(f"can't read the settings {config}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadSettings(f"can't read the settings {config}: byte {error.start} is not UTF-8") from error


def settings_in(text: str, config: Path) -> Settings:
    """The settings in this text, which is or was that of the file `config`. Raises BadSettings."""
    try:
        return parse_settings(text, str(config))
    except SettingsError as error:
        raise BadSettings(str(error)) from error
