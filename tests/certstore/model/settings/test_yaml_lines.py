"""YAML as it stands: values, lines, and everything that is refused."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certstore.model.settings.yaml_lines import read_document


def test_values_and_lines_of_every_path() -> None:
    document = read_document("# first\na: 1\nb:\n  - x: text\n  - {y: true, z: null}\n")
    assert document.value == {"a": 1, "b": [{"x": "text"}, {"y": True, "z": None}]}
    assert document.faults == ()
    assert document.lines["a",] == 2
    assert document.lines["b",] == 3
    assert document.lines["b", 0, "x"] == 4
    assert document.lines["b", 1, "z"] == 5


def test_empty_text_and_comments_are_no_value_and_no_fault() -> None:
    for text in ("", "\n\n", "# only a comment\n", "---\n", "\ufeff"):
        document = read_document(text)
        assert (document.value, document.faults) == (None, ()), text


def test_keys_are_taken_as_written() -> None:
    assert read_document("on: 1\nno: 2\n8: 3\n").value == {"on": 1, "no": 2, "8": 3}


def test_byte_order_mark_is_skipped() -> None:
    assert read_document("\ufeffa: 1").value == {"a": 1}


def test_alias_repeats_a_part() -> None:
    assert read_document("a: &x {b: 1}\nc: *x\n").value == {"a": {"b": 1}, "c": {"b": 1}}


@pytest.mark.parametrize(
    ("text", "line", "found"),
    [
        pytest.param("a: 1\nb: 2\na: 3\n", 3, "twice (the first is in line 1)", id="a key twice"),
        pytest.param("l:\n  - {a: 1, a: 2}\n", 2, "there twice", id="a key twice in a list"),
        pytest.param("a: 1\n---\nb: 2\n", 2, "second document", id="two documents"),
        pytest.param("a: [1\nb: 2\n", 2, "expected", id="a bracket left open"),
        pytest.param("a: 'text\n", 2, "quoted scalar from line 1", id="a quote left open"),
        pytest.param("\ta: 1\n", 1, "there is a tab", id="a tab first"),
        pytest.param("a: 1\n\tb: 2\n", 2, "there is a tab", id="a tab as indentation"),
        pytest.param("a: 1\nb: *nobody\n", 2, "undefined alias", id="an alias to nothing"),
        pytest.param("a: &x [*x]\n", 1, "refers to itself", id="an alias to itself"),
        pytest.param(
            "a: !!python/object/apply:os.system [id]\n", 1, "os.system is not supported", id="a Python object"
        ),
        pytest.param("a: !!int text\n", 1, "can't be read", id="a type that does not fit"),
        pytest.param("a: 2026-13-45\n", 1, "can't be read", id="a date that is none"),
        pytest.param("x: &x {a: 1}\ny: {<<: *x}\n", 2, "merge", id="a merge key"),
        pytest.param("? [a]\n: 1\n", 1, "plain text", id="a list as key"),
        pytest.param("a: \x00\n", None, "character", id="a NUL"),
        pytest.param('a: 1\nb: "x\\0y"\n', 2, "can't be read", id="a NUL in an escape"),
        pytest.param("a: \ud800\n", None, "not text", id="half a surrogate pair"),
    ],
)
def test_fault_is_reported_with_its_line(text: str, line: int | None, found: str) -> None:
    (fault,) = read_document(text).faults
    assert fault.line == line
    assert found in fault.found


def test_several_faults_are_reported_together() -> None:
    assert [fault.line for fault in read_document("a: 1\na: 2\nb: 1\nb: 2\n").faults] == [2, 4]


def test_aliases_to_aliases_do_not_grow_without_limit() -> None:
    lines = ["a0: &a0 [1,1,1,1,1,1,1,1,1,1]"]
    lines += [f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    faults = read_document("\n".join(lines)).faults
    assert len(faults) == 1
    assert "more than" in faults[0].found


@pytest.mark.parametrize("opener", ["[", "{a: ", "- ", "? ", "a:\n" + " " * 3])
def test_deep_nesting_is_refused_and_does_not_end_the_process(opener: str) -> None:
    """In a child process: the fault to fear here is no exception but a crash of the C parser."""
    program = (
        "from certstore.model.settings.yaml_lines import read_document\n"
        f"document = read_document({opener!r} * 100_000)\n"
        "assert document.faults, document\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_twenty_levels_are_allowed_and_one_more_is_not() -> None:
    assert read_document("[" * 20 + "]" * 20).faults == ()
    assert read_document("[" * 21 + "]" * 21).faults != ()


@given(st.text(max_size=200) | st.text(alphabet="ab:-? \n[]{}&*!#'\"|>%@`\t1,<", max_size=60))
def test_any_text_gives_a_value_or_faults_and_never_raises(text: str) -> None:
    document = read_document(text)
    assert document.value is None or not document.faults or isinstance(document.value, dict | list)
