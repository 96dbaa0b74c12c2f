"""Records over failures, restarts and changed settings."""

import logging
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from certstore.acme.dns.record_journal import FORGET_AFTER, Placed
from certstore.acme.dns.records import TRIAL_MARK, Wanted
from certstore.acme.dns.zone_writer import CannotWrite
from certstore.files.clock import utc_now
from tests.certstore.acme.dns.zone_scene import ZoneScene, program, rfc2136
from tests.peers.bind import Bind

pytestmark = pytest.mark.peer

NAME = "_acme-challenge.a.test"


@pytest.fixture(scope="module")
def bind() -> Iterator[Bind]:
    with Bind({"a.test": [], "b.test": []}) as running:
        yield running


def never(seconds: float) -> bool:
    return False


def test_one_place_is_written_at_once_and_each_zone_in_its_way(tmp_path: Path, bind: Bind) -> None:
    hook = program(tmp_path, "print(env['VALUE'], file=open(os.path.dirname(__file__) + '/ran', 'a')); sys.exit(1)")
    scene = ZoneScene(tmp_path, bind, rfc2136(bind, zones={"b.test": {"exec": [str(hook)]}}))
    wanted = [Wanted(NAME, "one"), Wanted("_acme-challenge.b.test", "other"), Wanted(NAME, "two")]
    faults = scene.records.put(wanted, never)
    assert bind.texts(NAME) == {"one", "two"}
    assert list(faults) == ["other"]
    assert (tmp_path / "ran").read_text() == "other\n"
    scene.records.remove(["one", "two", "never there"])
    assert bind.texts(NAME) == set()


def test_a_removal_that_fails_is_made_up_for_later(
    tmp_path: Path, bind: Bind, caplog: pytest.LogCaptureFixture
) -> None:
    key = tmp_path / "tsig.key"
    key.write_text(bind.key_file.read_text())
    way = {"rfc2136": {"server": bind.address, "tsig_secret_file": str(key)}}
    scene = ZoneScene(tmp_path, bind, way)
    assert scene.records.put([Wanted(NAME, "one"), Wanted(NAME, "two")], never) == {}
    key.rename(tmp_path / "away")
    scene.records.remove(["one"])
    assert bind.texts(NAME) == {"one", "two"}
    assert "could not be removed and is tried again later" in caplog.text
    (tmp_path / "away").rename(key)
    scene.records.remove(["two"])
    assert bind.texts(NAME) == set()
    assert scene.journal.leftovers(needed=()) == []


def test_what_could_not_be_removed_for_days_is_left_to_a_person(
    tmp_path: Path, bind: Bind, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    scene = ZoneScene(tmp_path, bind, {"exec": [str(program(tmp_path, "sys.exit(1)"))]})
    old = utc_now() - FORGET_AFTER - timedelta(hours=1)
    scene.journal.put(Placed("one", NAME, NAME, "a.test", old, is_leftover=True))
    scene.records.remove_leftovers()
    assert scene.journal.leftovers(needed=()) == []
    assert f"the TXT record {NAME} with the value one could not be removed for days" in caplog.text


def test_a_refused_addition_is_not_waited_for_nor_removed(tmp_path: Path, bind: Bind) -> None:
    scene = ZoneScene(tmp_path, bind, {"exec": ["/nowhere/hook"]})
    [fault] = scene.records.put([Wanted(NAME, "one")], never).values()
    assert isinstance(fault, CannotWrite)
    assert scene.journal.leftovers(needed=()) == []


def test_a_program_works_on_one_record_at_a_time(tmp_path: Path, bind: Bind) -> None:
    """Two runs at once would find the other's file."""
    body = (
        "path = os.path.dirname(__file__) + '/running'\n"
        "os.close(os.open(path, os.O_CREAT | os.O_EXCL)); time.sleep(0.3); os.unlink(path)"
    )
    scene = ZoneScene(tmp_path, bind, {"exec": [str(program(tmp_path, body))], "propagation_seconds": 0.1})
    faults: list[str] = []

    def put(name: str) -> None:
        faults.extend(map(str, scene.records.put([Wanted(name, name)], never).values()))

    threads = [threading.Thread(target=put, args=(f"_acme-challenge.{each}.a.test",)) for each in "xyz"]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(faults) == 3
    assert not [each for each in faults if "ended with status" in each]


def test_a_trial_leaves_nothing_behind(tmp_path: Path, bind: Bind) -> None:
    scene = ZoneScene(tmp_path, bind, rfc2136(bind))
    trial = scene.records.try_out(NAME, scene.bounds())
    assert trial.fault is None
    assert trial.unseen is None
    assert not [each for each in bind.texts(NAME) if each.startswith(TRIAL_MARK)]


def test_a_zone_without_a_way_is_named(tmp_path: Path, bind: Bind) -> None:
    scene = ZoneScene(tmp_path, bind, {"zones": {"b.test": rfc2136(bind)}})
    trial = scene.records.try_out(NAME, scene.bounds())
    assert str(trial.fault) == "acme.dns has no way to write into the zone a.test"
    assert isinstance(trial.fault, CannotWrite)
    assert f"or make {NAME} a CNAME into a zone that is named there" in trial.fault.remedy
