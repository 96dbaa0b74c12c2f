"""`certedge print-unit`: the systemd units, with the paths of this installation.

The package brings the files of deploy/systemd along, and here they are filled in: a program from pip needs no clone.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from certstore.cli.context import Config, argument, chosen_config, open_edge, option
from certstore.cli.failure import CommandFailed, Exit

UNITS = (
    "certedge.service",
    "certedge.socket",
    "certedge-live@.path",
    "certedge-live@.service",
    "certedge-push@.path",
    "certedge-push@.service",
)
STATE = Path("/var/lib/certedge")
"""The unit's StateDirectory: what lies below it may be written."""
_HOMES = ("/home", "/root", "/run/user")
"""What ProtectHome=yes hides."""
_PROGRAM, _CONFIG, _STORE = "/opt/certedge/bin/certedge", "/etc/certedge/edge.yaml", "/var/lib/certedge/store"


def _names() -> Iterable[str]:
    return UNITS


def print_unit(
    unit: Annotated[str, argument("UNIT", f"One of {', '.join(UNITS)}.", autocompletion=_names)] = UNITS[0],
    user: Annotated[str | None, option("--user", "NAME", "Whose service it is (default: certedge).")] = None,
    group: Annotated[str | None, option("--group", "NAME", "Its group (default: the user's name).")] = None,
    config: Config = None,
) -> None:
    """Print a systemd unit for this installation: its program, edge.yaml and store."""
    attempted = f"print the unit {unit}"
    if unit not in UNITS:
        raise CommandFailed(attempted, "there is no such unit", f"choose one of {', '.join(UNITS)}", Exit.USAGE)
    for name in (user, group):
        if name is not None and not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\$?", name):
            raise CommandFailed(attempted, f"{name!r} is no name of a user or group", "", Exit.USAGE)
    path = chosen_config(config).absolute()
    edge = open_edge(path) if path.exists() else None
    store = edge.layout.root.absolute() if edge is not None else Path(_STORE)
    text = (_folder() / unit).read_text(encoding="utf-8")
    who = user or "certedge"
    text = _filled(text, path if edge is not None else Path(_CONFIG), store, who, group or who)
    sys.stdout.write(text)


def _filled(text: str, config: Path, store: Path, user: str, group: str) -> str:
    text = text.replace(_PROGRAM, _program()).replace(_CONFIG, _escaped(config)).replace(_STORE, _escaped(store))
    text = text.replace("\nUser=certedge\nGroup=certedge\n", f"\nUser={user}\nGroup={group}\n")
    if not store.is_relative_to(STATE):
        text = text.replace("\nUMask=", f"\nReadWritePaths={_escaped(store)}\nUMask=")
    if any(path.is_relative_to(home) for path in (store, config, Path(sys.executable)) for home in _HOMES):
        text = text.replace("\nProtectHome=yes\n", "\nProtectHome=read-only\n")
    return text


def _program() -> str:
    """This program, as systemd starts it."""
    script = Path(sys.argv[0]).absolute()
    if script.name == "certedge":
        return _escaped(script)
    return f"{_escaped(Path(sys.executable))} -m edge_addon.cli"


def _escaped(path: Path) -> str:
    """systemd.unit(5): % begins a specifier, and spaces end a word."""
    text = str(path).replace("\\", "\\\\").replace("%", "%%")
    return f'"{text}"' if re.search(r"\s", text) else text


def _folder() -> Path:
    """In an installed package beside this file, in a clone where people look for it."""
    packaged = Path(__file__).parent / "units"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "deploy" / "systemd"
