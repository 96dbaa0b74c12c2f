import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from certstore.files.line_log import LineLog
from certstore.model.layout import Layout
from certstore.model.settings.models import Source, Upstream
from certstore.model.snapshot import MAIN, ServedCertificate, SiteEntry
from certstore.store.journal import JournalReader, JournalUnreadable, JournalWriter

AT = datetime(2026, 11, 1, tzinfo=UTC)


def entry(site: str, *names: str, version: int = 1) -> SiteEntry:
    names = names or (f"{site}.test",)
    certificate = ServedCertificate(site, version, "ab" * 32, names, AT, AT)
    return SiteEntry(site, names[0], names, Source.FILE, certificate)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path)
    layout.state.mkdir()
    layout.temporary.mkdir()
    return layout


@pytest.fixture
def writer(layout: Layout) -> JournalWriter:
    writer = JournalWriter(layout)
    assert not writer.load()
    writer.rewrite([entry(MAIN)])
    return writer


@pytest.fixture
def reader(layout: Layout, writer: JournalWriter) -> JournalReader:
    reader = JournalReader(layout)
    reader.load()
    return reader


def append(layout: Layout, text: str) -> None:
    with layout.snapshot_journal.open("a") as journal:
        journal.write(text)


def test_nothing_to_serve_from_is_reported_not_guessed(layout: Layout) -> None:
    reader = JournalReader(layout)
    with pytest.raises(JournalUnreadable, match="No such file"):
        reader.load()
    assert reader.poll() is None
    layout.snapshot_journal.write_text("")
    with pytest.raises(JournalUnreadable, match="needs the main site"):
        reader.load()


def test_what_is_published_arrives_with_the_next_poll_and_only_then(
    writer: JournalWriter, reader: JournalReader
) -> None:
    assert reader.poll() is None
    writer.publish([entry("a"), entry("b")])
    snapshot = reader.poll()
    assert snapshot is not None
    assert set(snapshot.sites) == {MAIN, "a", "b"}
    assert reader.poll() is None


def test_the_last_line_of_a_site_holds(writer: JournalWriter, reader: JournalReader) -> None:
    writer.publish([entry("a", "old.test")])
    writer.publish([entry("a", "new.test", version=2)])
    writer.publish([], ["b"])
    snapshot = reader.poll()
    assert snapshot is not None
    assert set(snapshot.by_name) == {"main.test", "new.test"}
    assert snapshot.sites["a"].certificate == entry("a", "new.test", version=2).certificate


def test_a_name_that_moves_between_sites_is_owned_by_one_of_them_at_every_poll(
    writer: JournalWriter, reader: JournalReader
) -> None:
    writer.publish([entry("a", "a.test", "shared.test"), entry("b", "b.test")])
    reader.poll()
    writer.publish([entry("a", "a.test"), entry("b", "b.test", "shared.test")])
    snapshot = reader.poll()
    assert snapshot is not None
    assert snapshot.by_name["shared.test"].site == "b"


def test_a_removed_site_is_gone_and_may_come_back(writer: JournalWriter, reader: JournalReader) -> None:
    writer.publish([entry("a")])
    writer.publish([], ["a"])
    snapshot = reader.poll()
    assert snapshot is not None
    assert "a" not in snapshot.sites
    writer.publish([entry("a")])
    snapshot = reader.poll()
    assert snapshot is not None
    assert "a.test" in snapshot.by_name


def test_entries_arrive_as_they_were_published(writer: JournalWriter, reader: JournalReader) -> None:
    upstreams = (Upstream(url="http://10.0.0.5:8080"), Upstream(url="unix:/run/web", health="/ping"))
    plain = SiteEntry("x", "x.test", ("x.test", "*.x.test"), Source.ACME, None, inspect=True, upstreams=upstreams)
    writer.publish([plain])
    snapshot = reader.poll()
    assert snapshot is not None
    assert snapshot.sites["x"] == plain


def test_a_line_is_read_when_it_is_complete_and_not_before(
    layout: Layout, writer: JournalWriter, reader: JournalReader
) -> None:
    writer.publish([entry("a")])
    line = layout.snapshot_journal.read_text().splitlines()[-1].replace('"a"', '"b"').replace("a.test", "b.test")
    append(layout, line[:30])
    snapshot = reader.poll()
    assert snapshot is not None
    assert "b" not in snapshot.sites
    assert reader.poll() is None
    append(layout, line[30:] + "\n")
    snapshot = reader.poll()
    assert snapshot is not None
    assert "b" in snapshot.sites


@pytest.mark.parametrize("junk", ["not json", "[]", '{"site":"a"}', '{"removed":', "null", '{"site":1,"names":2}'])
def test_a_bad_line_keeps_the_last_good_snapshot_and_is_reported_until_it_is_repaired(
    layout: Layout, writer: JournalWriter, reader: JournalReader, junk: str
) -> None:
    writer.publish([entry("a")])
    assert reader.poll() is not None
    append(layout, junk + "\n")
    assert reader.poll() is None
    assert reader.problem is not None
    assert str(layout.snapshot_journal) in reader.problem
    writer.rewrite([entry(MAIN), entry("c")])
    snapshot = reader.poll()
    assert snapshot is not None
    assert set(snapshot.sites) == {MAIN, "c"}
    assert reader.problem is None


def test_a_bad_file_is_read_once_and_not_with_every_poll(
    layout: Layout, writer: JournalWriter, reader: JournalReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(layout, "junk\n")
    assert reader.poll() is None

    def no_more(*_: object) -> bytes:
        raise AssertionError("the file was read again though it had not changed")

    monkeypatch.setattr("certstore.store.journal._read_at", no_more)
    assert reader.poll() is None


def test_a_vanished_journal_keeps_the_snapshot(layout: Layout, writer: JournalWriter, reader: JournalReader) -> None:
    layout.snapshot_journal.rename(layout.root / "elsewhere")
    assert reader.poll() is None
    assert reader.problem is not None
    (layout.root / "elsewhere").rename(layout.snapshot_journal)
    writer.publish([entry("a")])
    assert reader.poll() is not None
    assert reader.problem is None


def test_a_journal_that_was_cut_back_is_read_again(
    layout: Layout, writer: JournalWriter, reader: JournalReader
) -> None:
    size = layout.snapshot_journal.stat().st_size
    writer.publish([entry("a")])
    assert reader.poll() is not None
    # As after a full disk: what could not be finished is cut off, and something else is written in its place.
    os.truncate(layout.snapshot_journal, size)
    append(layout, json.dumps({"site": "bb", "host": "b", "names": ["b"], "source": "file", "x": "y" * 200}) + "\n")
    snapshot = reader.poll()
    assert snapshot is not None
    assert set(snapshot.sites) == {MAIN, "bb"}


def test_an_overgrown_journal_is_rewritten_and_readers_do_not_notice(
    layout: Layout, writer: JournalWriter, reader: JournalReader
) -> None:
    longest = 0
    for version in range(1, 2000):
        writer.publish([entry("a", version=version)])
        longest = max(longest, layout.snapshot_journal.stat().st_size)
        if version % 100 == 0:
            snapshot = reader.poll()
            assert snapshot is not None
            certificate = snapshot.sites["a"].certificate
            assert certificate is not None
            assert certificate.version == version
    assert longest < 80_000
    again = JournalWriter(layout)
    again.load()
    assert again.entries == writer.entries


def test_a_failed_append_leaves_no_part_of_a_line(
    layout: Layout, writer: JournalWriter, reader: JournalReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = layout.snapshot_journal.read_bytes()
    write = os.write

    def full_after_ten_bytes(descriptor: int, content: bytes) -> int:
        if len(content) > 10:
            return write(descriptor, content[:10])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full_after_ten_bytes)
        with pytest.raises(OSError, match="No space left"):
            writer.publish([entry("a" * 4)])
    # 10 bytes at a time until less than 10 are left, which are refused: nearly the whole line was there.
    assert layout.snapshot_journal.read_bytes() == before
    assert "aaaa" not in writer.entries
    writer.publish([entry("b")])
    snapshot = reader.poll()
    assert snapshot is not None
    assert set(snapshot.sites) == {MAIN, "b"}


def test_lines_after_a_torn_one_are_not_lost_at_the_next_start(layout: Layout, writer: JournalWriter) -> None:
    writer.publish([entry("a")])
    append(layout, '{"site":"torn","ho')
    again = JournalWriter(layout)
    assert not again.load()
    assert set(again.entries) == {MAIN, "a"}


def test_a_log_that_is_whole_says_so(layout: Layout) -> None:
    log = LineLog(layout.root / "log", layout.temporary)
    assert log.read() == ([], False)
    log.rewrite([1, {"a": "ü\n"}])
    log.append([None], is_durable=True)
    assert LineLog(layout.root / "log", layout.temporary).read() == ([1, {"a": "ü\n"}, None], True)


def _cut(layout: Layout) -> None:
    os.truncate(layout.snapshot_journal, 0)


def _damage(layout: Layout) -> None:
    append(layout, "\x00garbage\n")


def _nest(layout: Layout) -> None:
    append(layout, "[" * 200_000 + "\n")


def _remove(layout: Layout) -> None:
    layout.snapshot_journal.unlink()


def _replace(layout: Layout) -> None:
    layout.snapshot_journal.unlink()
    layout.snapshot_journal.write_text("{}\n")


@pytest.mark.parametrize("harm", [_cut, _damage, _nest, _remove, _replace])
def test_harm_by_hand_changes_nothing_and_is_repaired_by_the_next_change(
    harm: Callable[[Layout], None], layout: Layout, writer: JournalWriter, reader: JournalReader
) -> None:
    writer.publish([entry("a"), entry("b")])
    before = reader.poll()
    harm(layout)
    assert reader.poll() is None
    writer.publish([entry("a", version=2)], removed=["b"])
    after = reader.poll()
    assert before is not None
    assert after is not None
    assert {site: each.certificate and each.certificate.version for site, each in after.sites.items()} == {
        MAIN: 1,
        "a": 2,
    }
    assert JournalReader(layout).load() == after


@pytest.mark.parametrize("seconds", [1e30, -1e18, 10**400], ids=["far ahead", "long ago", "beyond all numbers"])
def test_instant_that_is_none_makes_a_line_that_is_not_understood(tmp_path: Path, seconds: float) -> None:
    layout = Layout(tmp_path)
    for folder in (layout.state, layout.temporary):
        folder.mkdir()
    certificate = ["main", 1, "00", ["a.test"], 0, seconds, False, False]
    line = {"site": "main", "host": "a.test", "names": ["a.test"], "source": "file", "certificate": certificate}
    layout.snapshot_journal.write_text(json.dumps(line) + "\n")
    writer = JournalWriter(layout)
    assert not writer.load()
    writer.close()
    with pytest.raises(JournalUnreadable):
        JournalReader(layout).load()
