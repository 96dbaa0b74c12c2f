"""What lets the service read a file that it may not read, as a command where that is safe: shown to people, never run.

Checks the folders on the way too: a readable file in a folder that can't be entered is as unreadable as the other way
round. Knows nothing of drops or certificates.
"""

from __future__ import annotations

import os
import pwd
import shlex
from pathlib import Path


def repair_command(path: Path) -> str:
    """One sentence with the commands. They grant access to the user that this process runs as, and to nobody else.

    No command for what lies outside of the path's folder: a person who may write there could make it lead to a file of
    root's, and an administrator would hand that out.
    """
    user = _user_name()
    real = Path(os.path.realpath(path))
    if not real.is_relative_to(os.path.realpath(path.parent)):
        return (
            f"It is a link that leads out of its folder. If you know who made it, let the user {user} read the file "
            "that it leads to, or put a copy in its place"
        )
    if not str(real).isprintable():
        return f"Rename it first, as its name can't be shown whole, and let the user {user} read it"
    shut = [folder for folder in reversed(real.parents) if _is_shut(folder)]
    commands = [f"setfacl -m u:{user}:x {shlex.quote(str(folder))}" for folder in shut]
    rights = "rx" if _is_folder(real) else "r"
    commands.append(f"setfacl -m u:{user}:{rights} {shlex.quote(str(real))}")
    other_way = "" if shut else f" (or make {user} its owner: chown {user} {shlex.quote(str(real))})"
    return f"As root: {' && '.join(commands)}{other_way}"


def _is_folder(path: Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112  Path.is_dir raises where a folder on the way can't be entered


def _is_shut(folder: Path) -> bool:
    return _is_folder(folder) and not os.access(folder, os.X_OK, effective_ids=True)


def _user_name() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
