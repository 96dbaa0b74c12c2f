"""The access log: one line per HTTP request or mail session, in JSON or the combined format.

Lines are collected and written once per iteration of the event loop. Text from clients is escaped by the JSON encoder
or by `_quote`, so a client can't forge a line.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, TextIO

from certstore.files.clock import utc_now
from edge_addon.transport.channel import Channel

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class AccessEntry:
    """The contents of one line. Durations are in seconds, sizes in bytes of body or mail traffic."""

    kind: str
    client: str
    server_name: str | None
    certificate: str | None
    """The site whose certificate was used; None in clear text."""
    reason: str | None
    host: str | None = None
    method: str | None = None
    target: str | None = None
    protocol: str | None = None
    status: int | None = None
    bytes_in: int = 0
    bytes_out: int = 0
    upstream: str | None = None
    duration: float = 0.0
    upstream_duration: float | None = None
    tls_version: str | None = None
    user_agent: str | None = None
    referer: str | None = None
    outcome: str | None = None
    """Why it did not end normally: the cause of a refusal, `client_gone`, `upstream_gone`, …"""

    @classmethod
    def of(cls, channel: Channel) -> AccessEntry:
        """An entry with what the connection knows; the request or the mail session adds the rest."""
        selection = channel.selection
        return cls(
            kind=channel.listener.kind.value,
            client=channel.client.host,
            server_name=channel.server_name,
            certificate=None if selection is None else selection.certificate.site,
            reason=None if selection is None else selection.reason.value,
            tls_version=channel.tls_version,
        )


def format_json(entry: AccessEntry, at: datetime) -> str:
    """One JSON object, without the values that are None."""
    facts: dict[str, object] = {"time": at.isoformat(timespec="milliseconds")}
    for name in AccessEntry.__slots__:
        value = getattr(entry, name)
        if value is not None:
            facts[name] = round(value, 6) if isinstance(value, float) else value
    return json.dumps(facts, separators=(",", ":"))


def format_combined(entry: AccessEntry, at: datetime) -> str:
    """The combined format of Apache httpd, followed by the server name and the site of the certificate."""
    request = f"{entry.method or entry.kind} {entry.target or '-'} {entry.protocol or '-'}"
    return (
        f"{entry.client} - - [{at:%d/%b/%Y:%H:%M:%S +0000}] {_quote(request)} {entry.status or '-'} {entry.bytes_out}"
        f" {_quote(entry.referer)} {_quote(entry.user_agent)} {_quote(entry.server_name)} {entry.certificate or '-'}"
    )


def _quote(text: str | None) -> str:
    """Quoted as httpd does it: quotes, backslashes and all but printable ASCII as \\xHH."""
    if text is None:
        return '"-"'
    escaped = "".join(
        character if character.isascii() and character.isprintable() and character not in '"\\' else _escape(character)
        for character in text
    )
    return f'"{escaped}"'


def _escape(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))


class AccessLog:
    """Writes entries to a file, or to standard output when the path is `-`; without a path it writes nothing."""

    def __init__(
        self, path: Path | None, style: Literal["json", "combined"], clock: Callable[[], datetime] | None = None
    ) -> None:
        self.is_enabled = path is not None
        self._path = path
        self._format = format_json if style == "json" else format_combined
        self._clock = clock or utc_now
        self._file: TextIO | None = None
        self._pending: list[str] = []

    def write(self, entry: AccessEntry) -> None:
        """Queue one line; it is written in the next iteration of the loop."""
        if not self.is_enabled:
            return
        if not self._pending:
            asyncio.get_running_loop().call_soon(self.flush)
        self._pending.append(self._format(entry, self._clock()))

    def flush(self) -> None:
        """Write the queued lines with one system call, so that lines of several workers do not mix."""
        if not self._pending or self._path is None:
            return
        text = "\n".join(self._pending) + "\n"
        self._pending.clear()
        try:
            if self._file is None:
                to_file = str(self._path) != "-"
                self._file = self._path.open("a", encoding="utf-8", buffering=1 << 16) if to_file else sys.stdout
            self._file.write(text)
            self._file.flush()
        except OSError as error:
            self.is_enabled = False
            self._close_file()
            logger.error("access log %s: %s; logging stops until a reload or SIGUSR1", self._path, error)

    def close(self) -> None:
        """Write the queued lines and close the file. The next line opens the path again (log rotation)."""
        self.flush()
        self._close_file()
        self.is_enabled = self._path is not None

    def _close_file(self) -> None:
        """Close the file. After a failed write it still holds text, and fails to write that again."""
        file, self._file = self._file, None
        if file is not None and file is not sys.stdout:
            with contextlib.suppress(OSError):
                file.close()
