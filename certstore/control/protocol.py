"""The lines of the control socket: one JSON line as the request, then progress lines, and one last line as the answer.

Values to bytes and back, with bounds; knows no sockets, no store and no commands. Contents of files travel in base64
and appear neither in `repr` nor in any message of this module.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

VERSION = 1
"""To be raised when an older peer would misread a request or an answer."""

REQUEST_LIMIT = 4 << 20
"""Bytes of one request line: two files of the largest accepted size (1 MB) in base64, with room to spare."""

ANSWER_LIMIT = 16 << 20


class Fault(StrEnum):
    """Why a command did not do what it was asked. The command line gives INVALID an exit code of wrong usage."""

    BAD_REQUEST = "bad_request"
    TOO_LARGE = "too_large"
    OTHER_VERSION = "other_version"
    FORBIDDEN = "forbidden"
    INVALID = "invalid"
    NOT_FOUND = "not_found"
    EXISTS = "exists"
    REFUSED = "refused"
    BUSY = "busy"
    STORAGE = "storage"
    UNREACHABLE = "unreachable"
    INTERNAL = "internal"


class RequestFailed(Exception):
    """A command failed: `found` says why, `remedy` what to do about it (may be empty). Neither contains secrets."""

    def __init__(self, fault: Fault, found: str, remedy: str = "") -> None:
        super().__init__(f"{found}; {remedy}" if remedy else found)
        self.fault = fault
        self.found = found
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Request:
    """`signed_in` is the uid of who signed in for the client's process, as it says; None if nobody did."""

    command: str
    args: Mapping[str, Any] = field(repr=False)
    signed_in: int | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """A step of a long command, as one sentence for the person who waits."""

    message: str


@dataclass(frozen=True, slots=True)
class Result:
    facts: dict[str, Any]


Answer = Progress | Result | RequestFailed


def encode_request(request: Request) -> bytes:
    """Raises RequestFailed if the line would be longer than the other side reads."""
    line = _line({"version": VERSION, "verb": request.command, "args": request.args, "signed_in": request.signed_in})
    if len(line) > REQUEST_LIMIT:
        raise too_large()
    return line


def decode_request(line: bytes) -> Request:
    """Raises RequestFailed on anything that is not a request of this version."""
    fields = _object(line)
    if fields.get("version") != VERSION:
        raise RequestFailed(
            Fault.OTHER_VERSION,
            f"the request uses version {fields.get('version')!r:.20} of the control protocol, control uses {VERSION}",
            "restart the service after an update, so that both sides are of the same release",
        )
    command, args = fields.get("verb"), fields.get("args", {})
    if not isinstance(command, str) or not isinstance(args, dict):
        raise RequestFailed(Fault.BAD_REQUEST, "a request needs `verb` (a text) and `args` (an object)")
    signed_in = fields.get("signed_in")
    is_uid = isinstance(signed_in, int) and 0 <= signed_in < 2**32
    return Request(command, args, signed_in if is_uid else None)


def encode_answer(answer: Answer) -> bytes:
    match answer:
        case Progress(message):
            return _line({"version": VERSION, "progress": message})
        case Result(facts):
            return _line({"version": VERSION, "result": facts})
        case RequestFailed():
            error = {"fault": answer.fault.value, "found": answer.found, "remedy": answer.remedy}
            return _line({"version": VERSION, "error": error})


def decode_answer(line: bytes) -> Answer:
    """Raises RequestFailed if the other side speaks another protocol."""
    fields = _object(line)
    if isinstance(message := fields.get("progress"), str):
        return Progress(message)
    if isinstance(facts := fields.get("result"), dict):
        return Result(facts)
    match fields.get("error"):
        case {"fault": str(fault), "found": str(found), "remedy": str(remedy)}:
            return RequestFailed(Fault(fault) if fault in Fault else Fault.INTERNAL, found, remedy)
    raise RequestFailed(Fault.BAD_REQUEST, "the answer is neither progress nor a result nor an error")


def unpack_bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise RequestFailed(Fault.BAD_REQUEST, "a content is not base64") from None


def too_large() -> RequestFailed:
    return RequestFailed(
        Fault.TOO_LARGE,
        f"the request is larger than {REQUEST_LIMIT >> 20} MB",
        "a certificate with its key and chain has a few kilobytes: check that these are the right files",
    )


def _line(fields: Mapping[str, Any]) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode("ascii") + b"\n"


def _object(line: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        raise RequestFailed(Fault.BAD_REQUEST, "the line is not JSON") from None
    if not isinstance(fields, dict):
        raise RequestFailed(Fault.BAD_REQUEST, "the line is not a JSON object")
    return fields
