"""Who gives a command: the Unix user of a process, and the user who signed in if that is another one.

sudo changes the first, never the second. The kernel tells control the first. The second is told by the process itself,
because a confined service can't look at processes of others; only root and the store's owner are listened to at all.
"""

from __future__ import annotations

import pwd
from pathlib import Path

_NOBODY = 2**32 - 1
"""A process that nobody signed in for: a service, or a system without login accounting (proc(5), loginuid)."""


def unix_user(uid: int, signed_in: int | None) -> str:
    """As the audit log has it: `unix root`, or `unix root, signed in as anna`."""
    name = f"unix {_name(uid)}"
    return name if signed_in in (None, uid) else f"{name}, signed in as {_name(signed_in)}"


def own_login() -> int | None:
    """The uid of who signed in for this process."""
    try:
        uid = int(Path("/proc/self/loginuid").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return None if uid == _NOBODY else uid


def _name(uid: int | None) -> str:
    try:
        return pwd.getpwuid(uid or 0).pw_name
    except KeyError:
        return f"uid {uid}"
