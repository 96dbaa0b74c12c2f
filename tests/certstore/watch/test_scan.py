"""A scan finds exactly the places that changed, and what changed last comes first."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from certstore.model.layout import Layout
from certstore.store.writer import StoreWriter
from certstore.watch.queue import Kind, Place
from certstore.watch.scan import MAIN_PLACE, Look, look_at, take_view
from tests.certstore.stores import OTHER, SITE, drop


def test_a_view_differs_exactly_where_something_changed(writer: StoreWriter) -> None:
    for site in (SITE, OTHER):
        drop(writer, site, {"x.pem": b"x", "site.yaml": b"host: x"})
    (writer.layout.domains / "beside.test.pem").write_bytes(b"x")
    before = take_view(writer.layout)
    assert take_view(writer.layout).changed_since(before.signatures) == []
    (writer.layout.domains / SITE / "x.pem").write_bytes(b"y")
    os.utime(writer.layout.domains / SITE / "x.pem", (0, 0))
    assert [place.name for place in take_view(writer.layout).changed_since(before.signatures)] == [SITE]
    (writer.layout.domains / OTHER / ".x.pem.swp").write_bytes(b"y")
    (writer.layout.domains / OTHER / "site.yaml").write_bytes(b"host: y")
    (writer.layout.domains / "beside.test.pem").unlink()
    changed = {place.name for place in take_view(writer.layout).changed_since(before.signatures)}
    assert changed == {SITE, OTHER, "beside.test.pem"}


def test_main_comes_first_then_what_changed_last(writer: StoreWriter) -> None:
    for number in range(5):
        drop(writer, f"site-{number}.test", {"x.pem": b"x"})
    path = writer.layout.domains / "site-3.test" / "x.pem"
    later = look_at(writer.layout, Place(Kind.FOLDER, "site-3.test")).changed_at
    while look_at(writer.layout, Place(Kind.FOLDER, "site-3.test")).changed_at == later:
        path.write_bytes(b"y")
    changed = take_view(writer.layout).changed_since({})
    assert changed[:2] == [MAIN_PLACE, Place(Kind.FOLDER, "site-3.test")]
    assert len(changed) == 6


def test_a_site_without_a_folder_is_a_place_of_its_own(writer: StoreWriter) -> None:
    drop(writer, SITE, {"x.pem": b"x"})
    looks = take_view(writer.layout, (SITE, OTHER)).looks
    assert Place(Kind.FOLDER, SITE) in looks
    assert Place(Kind.SITE, SITE) not in looks
    assert Place(Kind.SITE, OTHER) in looks


@pytest.mark.parametrize("seed", ["1", "2"])
def test_a_signature_is_the_same_in_every_process(writer: StoreWriter, seed: str) -> None:
    drop(writer, SITE, {"x.pem": b"x", "y.pem": b"y"})
    program = (
        "import sys; from certstore.model.layout import Layout; from certstore.watch.scan import take_view; "
        "from pathlib import Path; print(sorted(take_view(Layout(Path(sys.argv[1]))).signatures.values()))"
    )
    command = [sys.executable, "-c", program, str(writer.layout.root)]
    shown = subprocess.run(
        command, env=os.environ | {"PYTHONHASHSEED": seed}, cwd=Path(__file__).parents[3], capture_output=True,
        text=True, check=True,
    ).stdout  # fmt: skip
    assert shown.strip() == str(sorted(take_view(Layout(writer.layout.root)).signatures.values()))


def test_a_change_just_now_may_hide_another() -> None:
    second = 1_000_000_000
    assert Look(1, 10 * second, has_links=False).may_hide_a_change(11 * second)
    assert not Look(1, 10 * second, has_links=False).may_hide_a_change(13 * second)
