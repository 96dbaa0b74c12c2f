"""Records that are in zones now, over restarts."""

from datetime import UTC, datetime
from pathlib import Path

from certstore.acme.dns.record_journal import Placed, RecordJournal
from tests.certstore.acme.workshop import make_layout

AT = datetime(2027, 3, 1, tzinfo=UTC)


def placed(value: str, *, is_leftover: bool = False) -> Placed:
    return Placed(value, "_acme-challenge.a.test", "a.acme.test", "acme.test", AT, is_leftover)


def test_a_restart_knows_what_is_where(tmp_path: Path) -> None:
    layout = make_layout(tmp_path)
    first = RecordJournal(layout)
    for each in (placed("one"), placed("two"), placed("three", is_leftover=True)):
        first.put(each)
    first.drop("one")
    first.drop("never there")
    first.close()
    second = RecordJournal(layout)
    assert second.find("one") is None
    assert second.find("two") == placed("two")
    assert second.leftovers() == [placed("three", is_leftover=True)]
    assert second.leftovers(needed=["two"]) == [placed("three", is_leftover=True)]
    assert len(second.leftovers(needed=[])) == 2
    assert second.mark_leftovers(needed=["two"]) == 1
    assert second.mark_leftovers(needed=[]) == 2
    second.put(placed("new"))
    assert {each.value for each in second.leftovers()} == {"two", "three"}, "and none of this process"
    second.close()


def test_lines_that_make_no_sense_are_left_out(tmp_path: Path) -> None:
    layout = make_layout(tmp_path)
    layout.dns_records.write_text('["x",[1,2,3,4,"no time",false]]\n["y",{}]\n')
    journal = RecordJournal(layout)
    assert journal.leftovers(needed=()) == []
    journal.close()
