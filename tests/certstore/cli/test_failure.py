import sys
from collections.abc import Callable

import pytest

from certstore.cli.failure import CommandFailed, Exit, run_app
from certstore.service.protocol import Fault, VerbFailed


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


def test_an_app_that_returns_is_done() -> None:
    assert run_app(app_that(lambda: None)) == 0


def test_a_permission_that_is_missing_comes_with_who_has_it(capsys: pytest.CaptureFixture[str]) -> None:
    run_app(raising(PermissionError(13, "Permission denied", "/store/live")))
    said = capsys.readouterr().err
    assert "/store/live: Permission denied" in said
    assert "as root, or as the user that the service runs as" in said


def test_settings_that_a_verb_refused_are_wrong_usage_and_the_rest_is_failure() -> None:
    codes = {fault: CommandFailed.from_verb("x", VerbFailed(fault, "y")).exit_code for fault in Fault}
    assert {fault for fault, code in codes.items() if code == Exit.USAGE} == {Fault.INVALID}
