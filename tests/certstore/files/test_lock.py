import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

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


def test_a_lock_file_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("data")
    (tmp_path / ".lock").symlink_to("precious")
    with pytest.raises(OSError, match="symbolic links"):
        WriterLock.take(tmp_path / ".lock")
    assert (tmp_path / "precious").read_text() == "data"
