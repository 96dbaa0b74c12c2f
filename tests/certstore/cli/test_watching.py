"""`certedge status --watch`, as a process that somebody looks at and interrupts."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from certstore.cli.watching import watch
from tests.certstore.cli.command import REPOSITORY, add_site, open_folder, write_edge
from tests.deadlines import wait_for

EDGE = (sys.executable, "-m", "edge_addon.cli")


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as made:
        write_edge(made)
        add_site(made, "a.test")
        yield made


def test_status_is_shown_again_when_it_changes_until_it_is_interrupted(folder: Path, tmp_path: Path) -> None:
    shown = tmp_path / "shown"
    with shown.open("wb") as out:
        process = subprocess.Popen(
            # Shells start what they put into the background with the signal ignored.
            ["env", "--default-signal=INT", *EDGE, "--config", str(folder / "edge.yaml"), "status", "--watch"],
            stdout=out,
            stderr=subprocess.PIPE,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        )
    try:
        wait_for(lambda: "a.test" in shown.read_text(), "the first status")
        add_site(folder, "b.test")
        wait_for(lambda: "b.test" in shown.read_text(), "the second status")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, err) == (0, b"")
    assert shown.read_text().count("2 sites") == 1, "once for each change"


def test_nothing_new_is_not_shown_again(capsys: pytest.CaptureFixture[str]) -> None:
    texts = iter(["one", "one", "two"])

    def show() -> None:
        text = next(texts, None)
        if text is None:
            raise KeyboardInterrupt
        sys.stdout.write(text)

    watch(show, seconds=0)
    assert capsys.readouterr().out == "one\ntwo"


def test_failure_ends_it() -> None:
    def show() -> None:
        raise OSError(13, "Permission denied")

    with pytest.raises(OSError, match="Permission denied"):
        watch(show, seconds=0)
