"""The access log's line about one request: what of the request and its connection is said. Pure."""

from __future__ import annotations

from edge_addon.access_log import AccessEntry
from edge_addon.channel import Channel
from edge_addon.relay.framing import RequestHead

_PROTOCOLS = ("HTTP/1.0", "HTTP/1.1")


def build_entry(channel: Channel, head: RequestHead | None, status: int, outcome: str | None) -> AccessEntry:
    """`head` is None for what never became a request."""
    selection = channel.selection
    entry = AccessEntry(
        kind=channel.listener.kind.value,
        client=channel.client.host,
        server_name=channel.server_name,
        certificate=None if selection is None else selection.certificate.site,
        reason=None if selection is None else selection.reason.value,
        status=status or None,
        tls_version=channel.tls_version,
        outcome=outcome,
    )
    if head is not None:
        entry.host = None if head.host is None else head.host.decode("latin-1")
        entry.method = head.method.decode("latin-1")
        entry.target = head.target.decode("latin-1")
        entry.protocol = _PROTOCOLS[head.minor]
        entry.user_agent = _field(head, b"user-agent")
        entry.referer = _field(head, b"referer")
    return entry


def _field(head: RequestHead, name: bytes) -> str | None:
    """The first value of a field that is passed on."""
    for line in head.lines:
        if line[: len(name)].lower() == name and line[len(name) : len(name) + 1] == b":":
            return line[len(name) + 1 :].strip(b" \t").decode("latin-1")
    return None
