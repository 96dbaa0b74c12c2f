"""Programs of the administrator's: what they get, and what becomes of those that fail, hang, or print secrets."""

import json
import logging
import threading
from pathlib import Path

import pytest

from certstore.acme.dns.bounds import Bounds
from certstore.acme.dns.hook import HookWriter
from certstore.acme.dns.zone_writer import CannotWrite
from certstore.acme.order_context import Interrupted
from certstore.model.settings.dns import ExecSettings
from tests.certstore.acme.dns.zone_scene import place, program

AT = place("_acme-challenge.client-a.test", "client-a.test")


def writer(folder: Path, body: str, **settings: object) -> HookWriter:
    given = {"command": [str(program(folder, body)), "$(touch x); `id`"]} | settings
    return HookWriter(ExecSettings.model_validate(given), folder)


def test_one_record_at_a_time_in_its_environment(tmp_path: Path) -> None:
    (tmp_path / "credentials").write_text("token: abcd1234\n")
    body = "import json; open(os.path.dirname(__file__) + '/ran', 'a').write(json.dumps([env, sys.argv[1:]]) + '\\n')"
    hook = writer(tmp_path, body, credentials_file="credentials")
    hook.add(AT, ["one", "two"], Bounds(30))
    hook.remove(AT, ["one"], Bounds(30))
    ran = [json.loads(line) for line in (tmp_path / "ran").read_text().splitlines()]
    common = {"NAME": AT.name, "ZONE": AT.zone, "CREDENTIALS_FILE": str(tmp_path / "credentials")}
    expected = [("add", "one"), ("add", "two"), ("remove", "one")]
    assert [each[0] for each in ran] == [{"ACTION": action, "VALUE": value, **common} for action, value in expected]
    assert ran[0][1] == ["$(touch x); `id`"], "no shell has read it"
    assert not (tmp_path / "x").exists()


def test_a_failure_shows_what_it_printed_without_secrets(tmp_path: Path) -> None:
    (tmp_path / "credentials").write_text("token: abcd1234\n")
    body = (
        "text = open(env['CREDENTIALS_FILE']).read(); print('could not log in with', text)\n"
        "print('password=hunter2', file=sys.stderr); print('x ' * 100_000); sys.exit(7)"
    )
    with pytest.raises(CannotWrite) as failed:
        writer(tmp_path, body, credentials_file="credentials").add(AT, ["one"], Bounds(30))
    said = str(failed.value)
    assert "(add) ended with status 7: " in said
    assert "could not log in with" in said
    assert "abcd1234" not in said
    assert "hunter2" not in said
    assert len(said) < 700


def test_a_secret_that_the_end_of_the_kept_output_cuts_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "credentials").write_text("token: abcd1234efgh5678\n")
    body = "sys.stdout.write('x ' * 190 + ' abcd1234efgh5678'); sys.exit(1)"
    with pytest.raises(CannotWrite) as failed:
        writer(tmp_path, body, credentials_file="credentials").add(AT, ["one"], Bounds(30))
    assert "abcd" not in str(failed.value)


def test_what_a_success_printed_is_logged_without_secrets(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    writer(tmp_path, "print('ok, token=hunter2hunter2')").add(AT, ["one"], Bounds(30))
    assert "ok, token=[hidden]" in caplog.text
    assert "hunter2" not in caplog.text


def test_one_that_hangs_is_stopped_after_its_time(tmp_path: Path) -> None:
    with pytest.raises(CannotWrite, match="did not end within 1 seconds and was stopped"):
        writer(tmp_path, "print('here', flush=True); time.sleep(600)", seconds=1).add(AT, ["one"], Bounds(300))


def test_one_that_hangs_does_not_hold_up_a_stop(tmp_path: Path) -> None:
    stopping = threading.Event()
    hook = writer(tmp_path, "open(os.path.dirname(__file__) + '/begun', 'w'); time.sleep(600)")

    def wait(seconds: float) -> bool:
        if (tmp_path / "begun").exists():
            stopping.set()
        return stopping.wait(0)

    with pytest.raises(Interrupted):
        hook.add(AT, ["one"], Bounds(600, wait))


def test_one_that_is_killed_says_by_which_signal(tmp_path: Path) -> None:
    with pytest.raises(CannotWrite, match="was ended by signal 9"):
        writer(tmp_path, "os.kill(os.getpid(), 9)").add(AT, ["one"], Bounds(30))


def test_one_that_is_not_there_needs_a_person(tmp_path: Path) -> None:
    hook = HookWriter(ExecSettings(command=("/nowhere/hook",)), tmp_path)
    with pytest.raises(CannotWrite, match="/nowhere/hook could not be started: No such file") as failed:
        hook.add(AT, ["one"], Bounds(30))
    assert failed.value.needs_person
