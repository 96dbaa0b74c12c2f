"""The fast half of the suite, for the edit loop: `tests/run --fast` loads this as a pytest plugin.

A test is skipped as soon as it tries to start a process, so no test needs a mark and no slow one slips in. The others
run in this process and wait for conditions only: a sleep fails the test.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any, NoReturn

import pytest

MAY_SLEEP = "tests.deadlines"
"""The one module that may sleep: between two checks of a condition."""


def pytest_configure(config: pytest.Config) -> None:
    given = config.option.markexpr
    config.option.markexpr = f"({given}) and not slow" if given else "not slow"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(subprocess.Popen, "__init__", _leave_out)
        patched.setattr(multiprocessing.Process, "start", _leave_out)
        patched.setattr(os, "fork", _leave_out)
        patched.setattr(time, "sleep", _sleep_for_facts)
        return (yield)


def _leave_out(*args: Any, **kwargs: Any) -> NoReturn:
    pytest.skip("starts a process: not among the fast tests")


def _sleep_for_facts(seconds: float, sleep: Any = time.sleep) -> None:
    if seconds > 0 and sys._getframe(1).f_globals.get("__name__") != MAY_SLEEP:
        pytest.fail(f"sleeps for {seconds:g} s: wait for a fact (tests.deadlines)")
    sleep(seconds)
