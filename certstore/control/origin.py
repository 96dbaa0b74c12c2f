"""Who gives a command: the Unix user of a process, and the user who signed in if that is another one.

The kernel says both, so nobody can claim to be somebody else. sudo changes the first, never the second.
"""

from __future__ import annotations

import pwd
from pathlib import Path

_NOBODY = 2**32 - 1
"""A process that nobody signed in for: a service, or a system without login accounting (proc(5), loginuid)."""


def unix_user(uid: int, pid: int) -> str:
    """As the audit log has it: `unix root`, or `unix root, signed in as anna`."""
    signed_in = _login_uid(pid)
    name = f"unix {_name(uid)}"
    return name if signed_in in (None, uid) else f"{name}, signed in as {_name(signed_in)}"


def _login_uid(pid: int) -> int | None:
    try:
        uid = int(Path(f"/proc/{pid}/loginuid").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return None if uid == _NOBODY else uid


def _name(uid: int | None) -> str:
    try:
        return pwd.getpwuid(uid or 0).pw_name
    except KeyError:
        return f"uid {uid}"
