"""Reads files with credentials, and keeps what is in them out of every message.

A program that fails tends to print what it was given. So nothing that comes from one is shown before the values of its
file are taken out, and with them everything that looks like a credential.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from certstore.acme.dns.zone_writer import CannotWrite
from certstore.model.text import written_text

FILE_LIMIT = 65_536
HIDDEN = "[hidden]"
_SHORTEST = 4
"""A shorter value, such as a yes or a number, would take words out of every message."""
_LINE = re.compile(r"\s*[\"']?([A-Za-z0-9_.-]+)[\"']?\s*[:=]\s*(.*?)\s*", re.ASCII)
_NAMED = re.compile(
    r"(?i)\b([\w.-]*(?:auth|token|secret|passw(?:or)?d?|passphrase|credential|api[_-]?key|signature|cookie)[\w.-]*"
    r"[\"']?\s*(?:[:=]|\s(?=bearer|basic))\s*)(?:(?:bearer|basic)\s+)?[\"']?([^\s\"',;&]{3,})",
    re.ASCII,
)
_RANDOM = re.compile(r"[A-Za-z0-9+/_=-]{20,}", re.ASCII)
_IN_URL = re.compile(r"(?<=://)[^/\s@]+(?=@)", re.ASCII)


def read_credentials_text(path: Path, key: str) -> str:
    """The file's text; `key` is the setting that names it. Raises CannotWrite."""
    try:
        with path.open("rb") as file:
            content = file.read(FILE_LIMIT + 1)
        text = written_text(content)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not plain text"
        raise CannotWrite(
            f"{key} {path} can't be read: {reason}", remedy="Let the service's user read it.", needs_person=True
        ) from None
    if len(content) > FILE_LIMIT:
        raise CannotWrite(f"{key} {path} is longer than {FILE_LIMIT} bytes", needs_person=True)
    return text


def read_credentials(path: Path) -> dict[str, str]:
    """One `name: value` or `name = value` a line, as other ACME clients have them too. Raises CannotWrite."""
    found = {}
    for number, line in enumerate(read_credentials_text(path, "credentials_file").splitlines(), 1):
        if not line.strip() or line.lstrip().startswith(("#", ";", "[", "---")):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            remedy = "Write one `name: value` a line, with the options of the provider."
            raise CannotWrite(f"{path}: line {number} is not `name: value`", remedy=remedy, needs_person=True)
        found[match[1]] = match[2].strip("\"'")
    return found


def secrets_in(text: str) -> frozenset[str]:
    """Everything in a credentials file that must not be shown: its lines, their values and the words in them."""
    found = set()
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        value = match[2] if match is not None else line.strip()
        found |= {value, value.strip("\"'"), *value.split()}
    return frozenset(each for each in found if len(each) >= _SHORTEST)


def hide(text: str, secrets: Collection[str], known: Collection[str] = ()) -> str:
    """The text without the secrets and without what looks like one. `known` may be shown: the record's name and
    value."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    text = _IN_URL.sub(HIDDEN, text)
    text = _NAMED.sub(lambda found: found[0] if found[2] in known else f"{found[1]}{HIDDEN}", text)
    return _RANDOM.sub(lambda found: found[0] if _is_harmless(found[0], known) else HIDDEN, text)


def _is_harmless(word: str, known: Collection[str]) -> bool:
    """Words and paths are not random: those with letters of one case only and no digit, or ones we have written."""
    if any(word in each for each in known):
        return True
    has_digit = any(each.isdigit() for each in word)
    return not has_digit and (word.islower() or word.isupper() or "/" in word)
