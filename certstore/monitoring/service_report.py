"""The supervisor's report in the store: who runs the service, with which settings, and what became of a reload.

The supervisor writes it with `write_report`; every other process reads it. It only counts while its writer lives.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.metadata import version
from pathlib import Path

from certstore.model.layout import Layout
from certstore.model.service_state import ServiceState, digest_of
from certstore.model.settings.models import Settings


def read_report(layout: Layout) -> ServiceState | None:
    """None if no service runs on the store. Raises OSError if this user may not know."""
    try:
        content = layout.service_report.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        state = ServiceState.from_json(json.loads(content))
    except ValueError:
        return None
    return state if start_of(state.pid) == state.started else None


def is_of_its_writer(layout: Layout, state: ServiceState) -> bool:
    """Whether the process is of the user who wrote the report, or root wrote it.

    Root must not signal whichever process the service's user names.
    """
    try:
        uid = layout.service_report.stat().st_uid
        lines = Path(f"/proc/{state.pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return False
    users = {int(each) for line in lines if line.startswith("Uid:") for each in line.split()[1:]}
    return uid == 0 or users == {uid}


def write_report(layout: Layout, state: ServiceState) -> None:
    """Replaces the report. It need not survive a power cut, as its process doesn't. Raises OSError."""
    path = layout.service_report
    path.parent.mkdir(mode=0o700, exist_ok=True)
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(state.to_json(), separators=(",", ":")), encoding="utf-8")
    temporary.replace(path)


def start_of(pid: int) -> str:
    """When the process was started, in the system's ticks since its own start; empty if there is none.

    Together with the pid it names one process for good, where the number alone is used again.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
    state, *others = stat.rpartition(")")[2].split()
    return "" if state in {"Z", "X"} else others[18]


@cache
def release() -> str:
    """That of this process: the files of another may lie in its place by now."""
    return version("mitmproxy-edge")


@cache
def installation() -> str:
    """The release of this process and the folder that it runs from, which tell it from one that was installed later."""
    return f"{release()} in {Path(__file__).resolve().parents[2]}"


def settings_digest(settings: Settings) -> str:
    return digest_of(settings, release())
