"""Each fuzzer, a little in every run and long in the deep profile; and the inputs that have found something."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.inputs import Inputs
from tests.fuzz.target import Target, pieces
from tests.fuzz.targets import TARGETS

CASES = Path(__file__).parent / "cases"


@st.composite
def inputs(draw: st.DrawFn, target: Target) -> bytes:
    """A seed or words, changed at a few places: what Hypothesis can make smaller when it shows a fault."""
    text = st.lists(st.sampled_from(target.words), max_size=10).map(b"".join)
    data = draw(st.one_of(st.sampled_from(target.seeds), text, st.binary(max_size=60)))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        new = draw(st.one_of(st.sampled_from(target.words), st.binary(max_size=3)))
        data = data[:at] + new + data[at + draw(st.integers(0, 4)) :]
    return data[: target.longest]


@pytest.mark.parametrize("name", TARGETS)
@given(data=st.data())
def test_any_input_holds(name: str, data: st.DataObject) -> None:
    TARGETS[name].check(data.draw(inputs(TARGETS[name])))


@pytest.mark.parametrize("path", sorted(CASES.glob("*/*")), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_an_input_that_has_found_something_finds_it_no_more(path: Path) -> None:
    TARGETS[path.parent.name].check(path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_the_seeds_hold_and_the_same_seed_makes_the_same_inputs(name: str) -> None:
    target = TARGETS[name]
    for each in target.seeds:
        target.check(each)
    first, second = (list(itertools.islice(Inputs(target, 7), 50)) for _ in range(2))
    assert first == second
    assert len(set(first)) > 25


def test_pieces_are_all_of_the_data() -> None:
    for size in range(40):
        assert b"".join(pieces(bytes(range(size)))) == bytes(range(size))


def test_the_command_prints_how_many_inputs_each_fuzzer_had() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "--inputs", "20", "--seed", "1", "host", "chunks"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [["seed", "1"], ["host", "20"], ["chunks", "20"]]
