from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certstore.files.keyed_state import KeyedState, read_value, read_values


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.json"


def test_what_was_put_is_there_after_a_restart_and_what_was_dropped_is_not(path: Path) -> None:
    state = KeyedState(path, path.parent)
    state.put("a", {"n": 1})
    state.put("a", {"n": 2})
    state.put("b", None)
    state.put("c", [])
    state.drop("c")
    state.drop("never there")
    assert dict(KeyedState(path, path.parent)) == dict(state) == {"a": {"n": 2}, "b": None}


def test_a_change_costs_one_line_and_no_change_none(path: Path) -> None:
    state = KeyedState(path, path.parent)
    for number in range(100):
        state.put(str(number), number)
    size = path.stat().st_size
    state.put("5", 5)
    assert path.stat().st_size == size
    state.put("5", 6)
    assert 0 < path.stat().st_size - size < 20


def test_a_key_that_changes_all_the_time_does_not_fill_the_disk(path: Path) -> None:
    state = KeyedState(path, path.parent)
    for number in range(20_000):
        state.put("a", number, is_durable=False)
    assert path.stat().st_size < 100_000
    assert dict(KeyedState(path, path.parent)) == {"a": 19_999}


@pytest.mark.parametrize("tail", ['["b",', "\x00\x00\x00\n", '{"b":1}\n', "[1,2]\n"])
def test_damage_costs_the_damaged_line_only(path: Path, tail: str) -> None:
    KeyedState(path, path.parent).put("a", 1)
    with path.open("a") as file:
        file.write(tail)
    state = KeyedState(path, path.parent)
    assert dict(state) == {"a": 1}
    state.put("c", 3)
    assert dict(KeyedState(path, path.parent)) == {"a": 1, "c": 3}


@pytest.mark.parametrize(
    "content",
    [b"\0" * 4096, b"[" * 300_000 + b"\n", b'["a",1]\n["b",', b'["a",1]\n["b",2,{"later": true}]\n', b"no lines"],
    ids=["zeros", "brackets without end", "cut short", "of a later release", "a text"],
)
def test_damage_is_logged_and_a_copy_of_the_file_is_kept(
    path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_bytes(content)
    path.chmod(0o600)
    state = KeyedState(path, path.parent)
    state.put("c", 3)
    assert any(str(path) in message and "state.json.damaged" in message for message in caplog.messages)
    kept = path.with_name("state.json.damaged")
    assert kept.read_bytes().startswith(content)
    assert kept.stat().st_mode & 0o777 == 0o600
    assert state["c"] == 3


def test_nothing_is_logged_of_a_file_that_is_whole_empty_or_missing(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    KeyedState(path, path.parent).put("a", 1)
    assert dict(KeyedState(path, path.parent)) == {"a": 1}
    path.write_bytes(b"")
    assert dict(KeyedState(path, path.parent)) == {}
    assert caplog.messages == []
    assert [each.name for each in path.parent.iterdir()] == ["state.json"]


def test_values_that_are_none_are_left_out(path: Path) -> None:
    KeyedState(path, path.parent).put("a", 1)
    with path.open("a") as file:
        file.write('["b", "x"]\n["a", null]\n')
    state = KeyedState(path, path.parent, is_valid=lambda value: isinstance(value, int))
    assert dict(state) == {"a": 1}


@given(st.lists(st.tuples(st.text(max_size=3), st.none() | st.integers() | st.text(max_size=5))))
def test_it_is_a_dictionary(tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[str, Any]]) -> None:
    path = tmp_path_factory.mktemp("state") / "state"
    state, expected = KeyedState(path, path.parent), dict[str, Any]()
    for key, value in changes:
        if value is None:
            state.drop(key, is_durable=False)
            expected.pop(key, None)
        else:
            state.put(key, value, is_durable=False)
            expected[key] = value
    assert dict(KeyedState(path, path.parent)) == expected


def test_another_process_reads_one_value_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "state.jsonl"
    assert read_value(path, "a") is None
    assert read_values(path) == {}
    state = KeyedState(path, tmp_path)
    state.put("a", {"n": 1})
    state.put("b", {"n": 2})
    state.put("a", {"n": 3})
    state.drop("b")
    with path.open("ab") as file:
        file.write(b'damaged\n["c"\n["a", {"n": 4}')
    before = path.read_bytes()
    assert [read_value(path, key) for key in ("a", "b", "c")] == [{"n": 3}, None, None]
    assert read_values(path) == {"a": {"n": 3}}
    assert path.read_bytes() == before
    state.close()
