import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from certstore.files import lock
from certstore.files.lock import StoreBusy, WriterLock
from certstore.store.writer import StoreWriter

HOLD = """
import sys
from pathlib import Path
from certstore.files.lock import WriterLock
lock = WriterLock.take(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_writer_is_refused_and_learns_who_the_first_is(tmp_path: Path) -> None:
    with StoreWriter.acquire(tmp_path), pytest.raises(StoreBusy, match=f"process {os.getpid()}") as refusal:
        StoreWriter.acquire(tmp_path)
    assert refusal.value.pid == os.getpid()


def test_a_refused_writer_changes_nothing(tmp_path: Path) -> None:
    with StoreWriter.acquire(tmp_path):
        (tmp_path / "tmp" / "being made").mkdir()
        with pytest.raises(StoreBusy):
            StoreWriter.acquire(tmp_path)
        assert (tmp_path / "tmp" / "being made").is_dir()


def test_closing_lets_the_next_one_in(tmp_path: Path) -> None:
    for _ in range(3):
        StoreWriter.acquire(tmp_path).close()


def test_the_lock_of_another_process_holds_and_dies_with_it(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StoreBusy) as refusal:
            WriterLock.take(path)
        assert refusal.value.pid == holder.pid
        holder.send_signal(signal.SIGKILL)
    # The file is still there, with the pid of a process that is not.
    assert path.read_text() == f"{holder.pid}\n"
    WriterLock.take(path).release()


LEAVE = """
import os, sys
from pathlib import Path
from certstore.files.lock import WriterLock
lock = WriterLock.take(Path(sys.argv[1]))
if os.fork() == 0:
    os.close(1)
    sys.stdin.read()
    os._exit(0)
print("left", flush=True)
os._exit(0)
"""
"""It ends, as if killed, while the child that it has forked has not yet come to its exec."""


@contextmanager
def dead_holder(path: Path) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-c", LEAVE, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "left\n"
        holder.wait()
        yield holder


def test_a_child_of_a_dead_writer_that_is_just_starting_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with dead_holder(path) as holder, ThreadPoolExecutor(1) as pool:
        assert holder.stdin is not None
        taking = pool.submit(WriterLock.take, path)
        with pytest.raises(TimeoutError):
            taking.result(0.05)
        holder.stdin.close()
        taking.result(60).release()


def test_a_child_of_a_dead_writer_that_goes_on_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "DYING_SECONDS", 0.05)
    path = tmp_path / ".lock"
    with dead_holder(path) as holder:
        with pytest.raises(StoreBusy, match=f"process {holder.pid}"):
            WriterLock.take(path)
        assert holder.stdin is not None
        holder.stdin.close()


def test_a_lock_file_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("data")
    (tmp_path / ".lock").symlink_to("precious")
    with pytest.raises(OSError, match="symbolic links"):
        WriterLock.take(tmp_path / ".lock")
    assert (tmp_path / "precious").read_text() == "data"
