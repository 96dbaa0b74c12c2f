"""A missing peer is always reported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import NAMED_PEER
from tests.peers import PEERS, Peer, missing_packages, require_peer
from tests.peers.acme2certifier import Acme2certifier

ABSENT = Peer("no-such-program", ("no-such-package",))
ROOT = Path(__file__).parents[1]


@pytest.fixture
def absent_peer(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(PEERS, "absent", ABSENT)
    return "absent"


def test_missing_peer_skips_the_test_and_names_its_package(absent_peer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="apt install no-such-package"):
        require_peer(absent_peer)


def test_missing_peer_fails_the_test_under_ci(absent_peer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="missing peer: absent"):
        require_peer(absent_peer)


def test_missing_peer_is_among_the_packages_to_install(absent_peer: str) -> None:
    assert "no-such-package" in missing_packages()


def test_program_without_its_files_counts_as_missing(tmp_path: Path) -> None:
    assert Peer(sys.executable, ("python3",)).find() == Path(sys.executable)
    assert Peer(sys.executable, ("python3",), (str(tmp_path / "plugin"),)).find() is None


def test_peer_that_is_a_python_package_is_named_with_what_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setitem(sys.modules, "acme2certifier", None)  # how Python marks what can't be imported
    with pytest.raises(pytest.skip.Exception) as skipped:
        Acme2certifier(1)
    named = NAMED_PEER.search(str(skipped.value))
    assert named is not None
    assert named[1] == "acme2certifier (pip install acme2certifier)"


@pytest.mark.parametrize("processes", ["0", "2"])
@pytest.mark.parametrize(("ci", "exit_code"), [("", 0), ("true", 1)])
def test_end_of_a_run_names_missing_peers(tmp_path: Path, ci: str, exit_code: int, processes: str) -> None:
    test = tmp_path / "test_absent.py"
    test.write_text(
        "from tests.peers import PEERS, Peer, require_peer\n"
        "def test_absent(monkeypatch):\n"
        "    monkeypatch.setitem(PEERS, 'absent', Peer('no-such-program', ('no-such-package',)))\n"
        "    require_peer('absent')\n"
    )
    (tmp_path / "conftest.py").write_text("from tests.conftest import pytest_terminal_summary\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--rootdir={tmp_path}", str(test)]
    command += ["-n", processes]
    run = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "CI": ci}, capture_output=True, text=True, check=False, timeout=60
    )
    assert run.returncode == exit_code, run.stdout
    assert "absent (apt install no-such-package): 1 tests did not run" in run.stdout
