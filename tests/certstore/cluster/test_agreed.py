"""Floors outlive a restart, never fall, and belong to one cluster."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from certstore.cluster.agreed import AgreedState, Agreement
from certstore.model.layout import Layout

PATH, OTHER = "d/site/client-a.test", "d/head/client-a.test"
AGREED = Agreement(7, "digest", 41, numbers={"client-a.test": 3})


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path)
    layout.state.mkdir()
    layout.temporary.mkdir()
    return layout


@pytest.fixture
def agreed(layout: Layout) -> Iterator[AgreedState]:
    agreed = AgreedState(layout)
    agreed.belong_to("0123456789abcdef")
    yield agreed
    agreed.close()


def test_everything_is_there_after_a_restart(layout: Layout, agreed: AgreedState) -> None:
    whole = Agreement(8, "other", 0, "mine", is_to_restore=True)
    agreed.put(PATH, AGREED)
    agreed.put(OTHER, whole)
    agreed.raise_seq(12)
    again = AgreedState(layout)
    assert (again.get(PATH), again.get(OTHER), again.seq) == (AGREED, whole, 12)
    assert (again.cluster, sorted(again)) == ("0123456789abcdef", [OTHER, PATH])
    again.close()


def test_another_cluster_begins_with_nothing(agreed: AgreedState) -> None:
    agreed.put(PATH, AGREED)
    agreed.raise_seq(12)
    agreed.belong_to("fedcba9876543210")
    assert (agreed.get(PATH), agreed.seq, list(agreed)) == (None, 0, [])


def test_the_same_cluster_keeps_it(agreed: AgreedState) -> None:
    agreed.put(PATH, AGREED)
    agreed.belong_to("0123456789abcdef")
    assert agreed.get(PATH) == AGREED


def test_the_number_of_declarations_only_rises(agreed: AgreedState) -> None:
    for number in (5, 3):
        agreed.raise_seq(number)
    assert agreed.seq == 5


def test_a_removed_sites_generation_stays_the_floor(agreed: AgreedState) -> None:
    agreed.put(OTHER, AGREED)
    agreed.forget_content(OTHER)
    agreed.forget_content(PATH)
    assert agreed.get(OTHER) == Agreement(7, "", 0)
    assert agreed.get(PATH) is None


def test_seeing_a_record_again_ends_its_restoration(agreed: AgreedState) -> None:
    agreed.put(PATH, Agreement(7, "digest", 0, is_to_restore=True))
    agreed.see_at(PATH, 55)
    assert agreed.get(PATH) == Agreement(7, "digest", 55)


@pytest.mark.parametrize(
    ("agreement", "digest", "is_needed"),
    [
        pytest.param(AGREED, "digest", False, id="the same"),
        pytest.param(AGREED, "changed", True, id="changed here"),
        pytest.param(AGREED, None, False, id="nothing here"),
        pytest.param(Agreement(7, "digest", 41, "mine"), "mine", False, id="it could not be adopted"),
        pytest.param(Agreement(7, "digest", 41, "mine"), "changed", True, id="changed since it could not"),
        pytest.param(Agreement(7, "digest", 0, is_to_restore=True), "digest", True, id="the engine lost it"),
        pytest.param(Agreement(7, "digest", 0, "mine", is_to_restore=True), "mine", False, id="lost, and never here"),
    ],
)
def test_what_has_to_be_published(agreement: Agreement, digest: str | None, is_needed: bool) -> None:
    assert agreement.needs(digest) is is_needed


def test_damaged_lines_are_left_out(layout: Layout, agreed: AgreedState) -> None:
    agreed.put(PATH, AGREED)
    agreed.close()
    with layout.agreed.open("a") as file:
        file.write('["d/site/x.test",[1]]\n["d/site/y.test",{"a":1}]\n["half')
    again = AgreedState(layout)
    assert list(again) == [PATH]
    again.close()
