"""The fast half of the suite, for the edit loop: `tests/run --fast` loads this as a pytest plugin.

A test that starts a process is skipped the moment it tries to: nothing has to be marked, and nothing slow slips in.
What is left runs in this process and waits for facts only: sleeping for a time fails a test here.
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
"""The one module whose sleeps are pauses between two looks at a fact."""


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
