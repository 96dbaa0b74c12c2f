import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from certstore.cli.failure import CLOSED_PIPE, CommandFailed, Exit, run_app
from certstore.cli.output import print_lines
from certstore.control.protocol import Fault, RequestFailed
from tests.certificates import CertificateAuthority
from tests.certstore.cli.command import REPOSITORY, certedge, install, open_folder, write_edge


def app_that(act: Callable[[], None]) -> Callable[..., None]:
    return lambda **_: act()


def raising(error: BaseException) -> Callable[..., None]:
    def act() -> None:
        raise error

    return app_that(act)


def test_a_failure_says_what_was_attempted_found_and_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    failure = CommandFailed("install a certificate for a.test", "no key\nno certificate", "give both", Exit.USAGE)
    assert run_app(raising(failure)) == 2
    assert capsys.readouterr().err == (
        "certedge: could not install a certificate for a.test\n"
        "  found: no key\n"
        "         no certificate\n"
        "  to do: give both\n"
    )


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PermissionError(13, "Permission denied", "/store/live"), 1),
        (OSError(28, "No space left on device"), 1),
        (SystemExit(3), 3),
        (SystemExit(None), 0),
        (SystemExit("text"), 1),
        (CommandFailed("x", "y"), 1),
    ],
    ids=["permission", "disk", "problems", "done", "text", "failure"],
)
def test_every_way_out_is_an_exit_code(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["certedge", "status", "--config", "secret"])
    assert run_app(raising(error)) == code
    assert "secret" not in capsys.readouterr().err


def test_an_argument_is_repeated_without_what_a_terminal_would_obey(capsys: pytest.CaptureFixture[str]) -> None:
    run_app(raising(CommandFailed("show the site \x1b[31mx", "\x9bm is none", "\x07 try again")))
    err = capsys.readouterr().err
    assert all(line.isprintable() for line in err.splitlines())
    assert "show the site ?[31mx" in err


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
@pytest.mark.parametrize("name", ["münchen.example", "\udcff", "漢"], ids=ascii)
@pytest.mark.parametrize("option", ["--json", "--kind=https"])
def test_no_name_and_no_locale_makes_a_traceback(encoding: str, name: str, option: str) -> None:
    with open_folder() as folder:
        write_edge(folder)
        install(folder, "main", CertificateAuthority().issue("mail.edge.test"))
        # certedge() looks for tracebacks itself.
        assert certedge(folder, "explain", option, name, PYTHONIOENCODING=f"{encoding}:strict").code == 0


def test_a_closed_output_makes_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert run_app(app_that(lambda: print_lines("unheard"))) == 0
    assert run_app(raising(CommandFailed("x", "y"))) == 1
    for stream in (sys.stdout, sys.stderr):
        stream.close()


def test_an_app_that_returns_is_done() -> None:
    assert run_app(app_that(lambda: None)) == 0


def test_a_permission_that_is_missing_comes_with_who_has_it(capsys: pytest.CaptureFixture[str]) -> None:
    run_app(raising(PermissionError(13, "Permission denied", "/store/live")))
    said = capsys.readouterr().err
    assert "/store/live: Permission denied" in said
    assert "as root, or as the user that runs the service" in said


def test_settings_that_a_command_refused_are_wrong_usage_and_the_rest_is_failure() -> None:
    codes = {fault: CommandFailed.from_request("x", RequestFailed(fault, "y")).exit_code for fault in Fault}
    assert {fault for fault, code in codes.items() if code == Exit.USAGE} == {Fault.INVALID}


@pytest.mark.parametrize(
    "words",
    [("status",), ("status", "--json"), ("site", "list"), ("--help",), ("--version",), ("cert", "install", "--help"),
     ("cert", "history", "main"), ("cert", "show", "main"), ("check-config",), ("site",)],
    ids=" ".join,
)  # fmt: skip
def test_reader_that_is_gone_ends_a_command_like_any_other_program(words: tuple[str, ...]) -> None:
    with open_folder() as folder:
        write_edge(folder)
        install(folder, "main", CertificateAuthority().issue("mail.edge.test"))
        reading, writing = os.pipe()
        os.close(reading)
        done = subprocess.run(
            [sys.executable, "-m", "edge_addon.cli", *words],
            stdout=writing,
            stderr=subprocess.PIPE,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            timeout=60,
            check=False,
        )
        os.close(writing)
    assert done.stderr == b""
    assert done.returncode == CLOSED_PIPE == 141
