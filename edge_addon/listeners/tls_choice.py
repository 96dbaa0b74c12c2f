"""What a ClientHello gets: the TLS context of the certificate for its name, that of a validation, or a refusal.

Decides by the worker's snapshot and settings; the connection does what this says. A validation (RFC 8737) involves no
certificate, no context and no ticket key of a site.
"""

from __future__ import annotations

from dataclasses import dataclass

from certstore.model.selection import Selection, fall_back_to_main
from certstore.model.settings.models import ListenerKind, ListenerSettings
from edge_addon.plane.data_plane import DataPlane
from edge_addon.transport import alpn
from edge_addon.transport.served_contexts import ServedContext
from edge_addon.transport.tls_contexts import NotLoaded, OutOfFiles
from edge_addon.transport.tls_stage import INTERNAL_ERROR, Hello


@dataclass(frozen=True, slots=True)
class Chosen:
    """`selection` is None for a validation: the connection ends with its handshake."""

    context: ServedContext
    selection: Selection | None


@dataclass(frozen=True, slots=True)
class Refused:
    """`cause` is counted, and `alert` is sent, if there is one."""

    cause: str
    alert: bytes = b""


def choose_context(plane: DataPlane, listener: ListenerSettings, hello: Hello) -> Chosen | Refused:
    offer = alpn.validation_offer(hello.received)
    if offer is not alpn.Validation.NOT_OFFERED:
        is_of_ca = offer is alpn.Validation.OFFERED and listener.kind is ListenerKind.HTTPS
        return _choose_validation(plane, hello) if is_of_ca else _NO_PROTOCOL
    selection = plane.select(hello.server_name, listener)
    if plane.refuses(selection, listener):
        return Refused("tls_unknown_name", hello.refusal)
    if not alpn.is_for(listener.kind, hello.received):
        return _NO_PROTOCOL
    is_mail = listener.kind.is_mail
    try:
        context = plane.contexts.get(selection.certificate, is_mail=is_mail)
        if context is None:
            plane.count("certificate_unreadable")
            selection = fall_back_to_main(plane.snapshot, selection)
            context = plane.contexts.get(selection.certificate, is_mail=is_mail)
    except OutOfFiles:
        return Refused("tls_out_of_files", INTERNAL_ERROR)
    return Chosen(context, selection) if context is not None else Refused("main_certificate_unreadable")


_NO_PROTOCOL = Refused("tls_alpn_refused", alpn.NO_APPLICATION_PROTOCOL)


def _choose_validation(plane: DataPlane, hello: Hello) -> Chosen | Refused:
    try:
        context = plane.validation_context(hello.server_name)
    except (NotLoaded, OutOfFiles):
        return Refused("tls_validation_failed", INTERNAL_ERROR)
    return Chosen(context, None) if context is not None else _NO_PROTOCOL
