"""Programs that hang, print without end, leave others behind, or can't be started."""

import os
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from certstore.acme.dns.bounds import Bounds
from certstore.acme.dns.child_process import Ended, run, usual_environment
from certstore.acme.order_context import Interrupted
from tests.deadlines import wait_for


def python(code: str, seconds: float = 30, given: bytes = b"", environment: dict[str, str] | None = None) -> Ended:
    return run([sys.executable, "-c", code], environment or {}, Bounds(seconds), given=given, limit=1000)


def test_a_program_gets_its_input_and_ends_with_a_status() -> None:
    ended = python("import sys; print(len(sys.stdin.read())); sys.exit(3)", given=b"x" * 300_000)
    assert ended == Ended(3, b"300000\n")


def test_only_the_beginning_of_what_it_prints_is_kept() -> None:
    ended = python("import sys; sys.stdout.write('a' * 5_000_000)")
    assert ended == Ended(0, b"a" * 1000)


def test_a_program_that_hangs_is_ended_though_it_ignores_the_request() -> None:
    ignoring = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('here', flush=True); time.sleep(600)"
    )
    ended = python(ignoring, seconds=1)
    assert ended.status is None


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:  # noqa: PTH123
        return ") Z " not in file.read()


@pytest.mark.parametrize("then", ["time.sleep(600)", "sys.exit(0)"], ids=["hangs itself", "ends itself"])
def test_what_it_started_ends_with_it(tmp_path: Path, then: str) -> None:
    noted = tmp_path / "pid"
    code = (
        "import os, subprocess, sys, time; each = subprocess.Popen(['sleep', '600']); "
        f"place = {str(noted)!r}; open(place + '.new', 'w').write(str(each.pid)); "
        f"os.rename(place + '.new', place); {then}"
    )
    with suppress(Interrupted):
        run([sys.executable, "-c", code], {}, Bounds(600, lambda seconds: noted.exists() and "sleep" in then))
    pid = int(noted.read_text())
    wait_for(lambda: not is_running(pid), "the grandchild has ended")


def test_a_grandchild_that_keeps_the_output_open_holds_nobody_up() -> None:
    code = "import subprocess; subprocess.Popen(['setsid', 'sleep', '3']); print('done')"
    assert python(code, seconds=300).status == 0


def test_a_stop_of_the_service_ends_it() -> None:
    stopping = threading.Event()
    stopping.set()
    with pytest.raises(Interrupted):
        run(["/bin/sleep", "600"], {}, Bounds(600, stopping.wait))


def test_a_program_that_is_not_there_is_an_error() -> None:
    with pytest.raises(OSError, match="No such file"):
        run(["/nowhere/hook"], {}, Bounds(5))


@pytest.mark.parametrize("names", [("SECRET_OF_THE_SERVICE", "LISTEN_FDS")])
def test_the_services_own_environment_is_not_passed_on(names: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in names:
        monkeypatch.setenv(name, "1")
    assert not usual_environment().keys() & set(names)
    assert "PATH" in usual_environment()
