"""What is kept of how places looked: from one start to the next, and nothing odd in the file stops a start."""

from pathlib import Path

import pytest

from certstore.model.layout import Layout
from certstore.store.writer import StoreWriter
from certstore.watch.queue import Kind, Place
from certstore.watch.seen import SeenPlaces

PLACE = Place(Kind.FOLDER, "a.test")
FILE = Place(Kind.FILE, "a.test.pem")


def test_the_next_start_knows_what_was_kept_and_not_what_was_forgotten(writer: StoreWriter) -> None:
    seen = SeenPlaces(writer.layout)
    seen.keep(PLACE, 7)
    seen.keep(FILE, 8)
    seen.keep(PLACE, 9)
    seen.forget(FILE)
    seen.close()
    assert SeenPlaces(writer.layout).signatures() == {PLACE: 9}


@pytest.mark.parametrize("content", [b"junk", b'["FOLDER/a.test","x"]\n', b'["FOLDER/a.test",true]\n', b"[1,2]\n"])
def test_an_odd_file_only_means_that_places_are_looked_at(writer: StoreWriter, content: bytes) -> None:
    writer.layout.seen_places.write_bytes(content)
    assert SeenPlaces(writer.layout).signatures() == {}


def test_a_full_disk_only_means_that_places_are_looked_at(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.state.mkdir()
    layout.temporary.mkdir()
    seen = SeenPlaces(layout)
    seen.close()
    layout.seen_places.unlink(missing_ok=True)
    layout.seen_places.symlink_to("/dev/full")
    seen.keep(PLACE, 7)
    seen.close()
    layout.seen_places.unlink()
    assert SeenPlaces(layout).signatures() == {}


def test_the_file_does_not_grow_without_end(writer: StoreWriter) -> None:
    seen = SeenPlaces(writer.layout)
    for number in range(10_000):
        seen.keep(PLACE, number)
        seen.forget(FILE)
    assert writer.layout.seen_places.stat().st_size < 200_000
    assert seen.signatures() == {PLACE: 9_999}
    seen.close()
