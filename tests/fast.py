"""The fast half of the suite, for the edit loop: `tests/run --fast` loads this as a pytest plugin.

Left out are the folders below, whose tests run the whole thing, and every other test the moment it starts a process or
sleeps for a time: nothing has to be marked, and nothing slow slips in. What is left runs in this process.
"""

from __future__ import annotations

import errno
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NoReturn

import pytest

HERE = Path(__file__).parent
WHOLE = (
    "bench",
    "deploy",
    "soak",
    "certstore/cli",
    "certstore/admin/test_*.py",
    "certstore/renewal",
    "edge_addon/demo",
    "edge_addon/whole",
    "edge_addon/processes",
    "*_stalls.py",
    "*_real_servers.py",
)
TRIES_IN_A_PROCESS = tuple(f"tests/certstore/store/test_{name}.py" for name in ("trial", "activation", "live_check"))
"""Every other test may try its certificates as the product does where it can start no process: in its own."""
MAY_SLEEP = "tests.deadlines"
"""The one module whose sleeps are pauses between two looks at a fact."""

_left_out = pytest.StashKey[str]()
_running: pytest.Item | None = None


def pytest_configure(config: pytest.Config) -> None:
    given = config.option.markexpr
    config.option.markexpr = f"({given}) and not slow" if given else "not slow"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What is run on a plain and on an inspected site is run on the plain one here."""
    left_out = [item for item in items if "[inspected" in item.nodeid]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in set(left_out)]


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    if not collection_path.is_relative_to(HERE):
        return None
    place = str(collection_path.relative_to(HERE))
    return True if any(fnmatch(place, each) for each in WHOLE) else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    global _running  # noqa: PLW0603  the hooks of a plugin that is a module share no other place
    _running = item
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(subprocess.Popen, "__init__", _refuse_process)
        patched.setattr(multiprocessing.Process, "start", _refuse_process)
        patched.setattr(os, "fork", _refuse_process)
        patched.setattr(time, "sleep", _sleep_for_facts)
        if not item.nodeid.startswith(TRIES_IN_A_PROCESS):
            patched.setattr("certstore.store.trial._Child", _no_child)
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """A process that a server's thread wanted shows as a failure of the test: it is left out all the same."""
    report: Any = yield
    if report.failed and (reason := item.stash.get(_left_out, "")):
        report.outcome, report.longrepr = "skipped", (str(item.path), 0, reason)
    return report  # type: ignore[no-any-return]


def _no_child() -> NoReturn:
    raise PermissionError(errno.EPERM, "no process for the fast tests")


def _refuse_process(*args: Any, **kwargs: Any) -> NoReturn:
    _leave_out("starts a process")


def _sleep_for_facts(seconds: float, sleep: Any = time.sleep) -> None:
    is_tests_own = threading.current_thread() is threading.main_thread()
    if seconds > 0 and is_tests_own and sys._getframe(1).f_globals.get("__name__") != MAY_SLEEP:
        _leave_out(f"sleeps for {seconds:g} s")
    sleep(seconds)


def _leave_out(reason: str) -> NoReturn:
    if _running is not None:
        _running.stash[_left_out] = f"{reason}: not among the fast tests"
    pytest.skip(f"{reason}: not among the fast tests")
