"""The whole demo with the real supervisor, workers and control process, and whether its checks can fail."""

import io
import os
import re
import signal
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edge_addon.demo import checks
from edge_addon.demo.arrangement import MAIN_HOST, OWN, OWN_ADDITIONAL, Arrangement
from edge_addon.demo.checks import CHECKS
from edge_addon.demo.show import run_demo
from tests.deadlines import wait_for

CERTEDGE = Path(sys.executable).with_name("certedge")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait a shorter time for what never comes."""
    monkeypatch.setattr(checks, "SERVED_SECONDS", 3.0)


def failed_lines(output: str) -> list[str]:
    return [line for line in output.splitlines() if line.startswith("✘")]


def test_every_check_passes_twice_in_a_row_in_one_folder(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    for _ in range(2):
        command = [str(CERTEDGE), "demo", "--once", "--dir", str(folder)]
        run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
        assert run.returncode == 0, run.stdout + run.stderr
        assert run.stderr == ""
        assert len(re.findall("^✔", run.stdout, re.MULTILINE)) == len(CHECKS)
        assert str(folder) in run.stdout
        assert "\x1b" not in run.stdout, "colours belong on a terminal"
    assert "PRIVATE KEY" not in (folder / "edge.log").read_text()


def shown(folder: Path, disturb: Callable[[Arrangement], None]) -> tuple[int, list[str]]:
    output = io.StringIO()
    code = run_demo(folder, once=True, output=output, disturb=disturb)
    return code, failed_lines(output.getvalue())


@pytest.mark.usefixtures("impatient")
def test_domain_whose_certificate_is_missing_fails_its_checks(tmp_path: Path) -> None:
    def take_drop_away(arrangement: Arrangement) -> None:
        for path in arrangement.layout.drop_folder(OWN).glob("*.pem"):
            path.unlink()

    code, wrong = shown(tmp_path, take_drop_away)
    assert code == 1
    assert [line for line in wrong if OWN in line and "got the main certificate" in line]
    assert [line for line in wrong if OWN_ADDITIONAL in line]


@pytest.mark.usefixtures("impatient")
def test_unexpected_main_certificate_fails_its_checks(tmp_path: Path) -> None:
    def renew_main(arrangement: Arrangement) -> None:
        arrangement.drop("main", arrangement.authority.issue(MAIN_HOST, now=datetime.now(UTC)).combined_pem)

    code, wrong = shown(tmp_path, renew_main)
    assert code == 1
    assert len([line for line in wrong if "expected the main certificate" in line]) >= 5


@pytest.mark.usefixtures("impatient")
def test_refused_main_certificate_leaves_a_self_signed_one_and_failed_checks(tmp_path: Path) -> None:
    def drop_other_name(arrangement: Arrangement) -> None:
        arrangement.drop("main", arrangement.pairs[OWN].combined_pem)

    code, wrong = shown(tmp_path, drop_other_name)
    assert code == 1
    assert [line for line in wrong if "SNI" in line and "self-signed" in line]


@pytest.mark.usefixtures("impatient")
def test_mail_servers_that_do_not_answer_fail_the_mail_checks(tmp_path: Path) -> None:
    def point_mail_nowhere(arrangement: Arrangement) -> None:
        text = arrangement.edge_yaml.read_text()
        arrangement.edge_yaml.write_text(re.sub(r"upstream: 127\.0\.0\.1:\d+", "upstream: 127.0.0.1:1", text))

    code, wrong = shown(tmp_path, point_mail_nowhere)
    assert code == 1
    assert {line.split()[1] for line in wrong} >= {"IMAP", "SMTP"}


def test_edge_that_does_not_start_is_reported_with_its_reason(tmp_path: Path) -> None:
    output = io.StringIO()

    def misspell(arrangement: Arrangement) -> None:
        arrangement.edge_yaml.write_text(arrangement.edge_yaml.read_text().replace("workers: 2", "wokers: 2"))

    assert run_demo(tmp_path, once=True, output=output, disturb=misspell) == 1
    assert "the edge ended with exit code 2" in output.getvalue()
    assert "wokers" in output.getvalue()


def test_folder_with_other_things_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    assert run_demo(tmp_path, once=True) == 1
    assert "choose another folder" in capsys.readouterr().out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_demo_serves_until_it_is_told_to_stop_and_leaves_no_process(tmp_path: Path, number: signal.Signals) -> None:
    output = tmp_path / "output"
    with output.open("w") as file:
        command = [str(CERTEDGE), "demo", "--dir", str(tmp_path / "demo")]
        child = subprocess.Popen(
            command,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=ignore_interrupts,  # noqa: PLW1509  no threads here
        )
    try:
        wait_for(
            lambda: "Serving until you press Ctrl-C" in output.read_text() or child.poll() is not None,
            "serving",
            seconds=60,
        )
        assert child.poll() is None, output.read_text()
        link = re.search(r"https://127\.0\.0\.1:\d+/setup\?link=\S+", output.read_text())
        assert link is not None, output.read_text()
        assert len(show_set_up_page(link[0])) > 0
        child.send_signal(number)
        assert child.wait(30) == 0, output.read_text()
        assert failed_lines(output.read_text()) == []
        wait_for(lambda: not group_is_alive(child.pid), "no process of the demo is left")
    finally:
        if group_is_alive(child.pid):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait(30)


def show_set_up_page(link: str) -> bytes:
    """The page behind the link. Raises OSError if it cannot be loaded."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with urllib.request.urlopen(link, context=context, timeout=60) as answer:
        return bytes(answer.read())


def ignore_interrupts() -> None:
    """Ignore SIGINT, as a shell does for programs that a script starts in the background."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def group_is_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
