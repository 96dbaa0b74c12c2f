import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_addon.mail.lines import Fault, Framer, Literals, Unit
from tests.edge_addon.mail.steps import split

LIMIT = 64


def framed(framer: Framer, pieces: list[bytes]) -> list[Unit | Fault]:
    """Everything that comes out. A fault, which repeats itself, appears once."""
    out: list[Unit | Fault] = []
    for piece in pieces:
        framer.feed(piece)
        while (unit := framer.next_unit()) is not None:
            if unit in Fault and out[-1:] == [unit]:
                break
            out.append(unit)
            if isinstance(unit, Fault):
                break
    return out


@pytest.mark.parametrize(
    ("literals", "data", "units"),
    [
        (Literals.NONE, b"NOOP\r\nQUIT\r\n", [Unit(b"NOOP\r\n"), Unit(b"QUIT\r\n")]),
        (Literals.NONE, b"a {3}\r\nabc\r\n", [Unit(b"a {3}\r\n"), Unit(b"abc\r\n")]),
        (Literals.AT_ONCE, b"a {3}\r\na\nc d\r\nb\r\n", [Unit(b"a {3}\r\na\nc d\r\n"), Unit(b"b\r\n")]),
        (Literals.AT_ONCE, b"{2+}\r\n{5}\r\nb\r\n", [Unit(b"{2+}\r\n{5}\r\n"), Unit(b"b\r\n")]),
        (Literals.AT_ONCE, b"{0}\r\n\r\nb\r\n", [Unit(b"{0}\r\n\r\n"), Unit(b"b\r\n")]),
        (Literals.ON_REQUEST, b"a {3}\r\na\nc d\r\n", [Unit(b"a {3}\r\n", waits=True), Unit(b"a\nc d\r\n")]),
        (Literals.ON_REQUEST, b"a {3+}\r\na\nc d\r\n", [Unit(b"a {3+}\r\na\nc d\r\n")]),
        (
            Literals.ON_REQUEST,
            b"a {1}\r\nx {1+}\r\ny {1}\r\nz\r\n",
            [Unit(b"a {1}\r\n", waits=True), Unit(b"x {1+}\r\ny {1}\r\n", waits=True), Unit(b"z\r\n")],
        ),
        (Literals.AT_ONCE, b"a {3}\na\nc\nb\n", [Unit(b"a {3}\na\nc\n"), Unit(b"b\n")]),
        (Literals.AT_ONCE, b"a {3} \r\nb\r\n", [Unit(b"a {3} \r\n"), Unit(b"b\r\n")]),
    ],
    ids=[
        "lines",
        "no literals where the protocol has none",
        "a literal stays with its line",
        "octets of a literal announce nothing",
        "an empty literal",
        "a literal that the client sends when asked",
        "a literal that it sends at once",
        "both in one command",
        "bare line feeds",
        "braces in the middle of a line",
    ],
)
def test_units_are_the_same_at_every_split(literals: Literals, data: bytes, units: list[Unit]) -> None:
    for cut in range(len(data) + 1):
        assert framed(Framer(LIMIT, literals), [data[:cut], data[cut:]]) == units


@given(
    st.lists(st.sampled_from([b"a", b"{2}", b"{3+}", b"{70}", b"\r\n", b"\n", b"\r", b"x" * 30]), max_size=20),
    st.lists(st.integers(0, 1000), max_size=8),
    st.sampled_from(Literals),
    st.booleans(),
)
def test_any_split_of_any_stream_gives_the_same_units(
    tokens: list[bytes], cuts: list[int], literals: Literals, is_strict: bool
) -> None:
    data = b"".join(tokens)
    whole = framed(Framer(LIMIT, literals, is_strict=is_strict), [data])
    assert framed(Framer(LIMIT, literals, is_strict=is_strict), split(data, cuts)) == whole
    taken = b"".join(unit.data for unit in whole if isinstance(unit, Unit))
    assert data.startswith(taken)


@pytest.mark.parametrize("line", [b"NOOP\n", b"NO\nOP\r\n", b"NO\rOP\r\n", b"NOOP\r\r\n", b"\n", b"\r\n\n"])
def test_a_strict_framer_refuses_bare_line_ends(line: bytes) -> None:
    assert framed(Framer(LIMIT, is_strict=True), [line])[-1] is Fault.BARE_NEWLINE
    assert Fault.BARE_NEWLINE not in framed(Framer(LIMIT), [line])


@pytest.mark.parametrize(
    "data",
    [b"x" * LIMIT, b"x" * (LIMIT - 1) + b"\r\n", b"a {64}\r\n", b"a {999999999999}\r\n", b"{1+}\r\nx" * 12],
    ids=["no line end", "a byte too long", "a literal too long", "a literal beyond all bounds", "many literals"],
)
@pytest.mark.parametrize("literals", [Literals.AT_ONCE, Literals.ON_REQUEST])
def test_what_is_longer_than_the_limit_is_a_fault_that_stays(data: bytes, literals: Literals) -> None:
    framer = Framer(LIMIT, literals)
    assert framed(framer, [data])[-1] is Fault.TOO_LONG
    framer.feed(b"NOOP\r\n")
    assert framer.next_unit() is Fault.TOO_LONG


def test_a_line_of_exactly_the_limit_passes() -> None:
    line = b"x" * (LIMIT - 2) + b"\r\n"
    assert framed(Framer(LIMIT), [line, line]) == [Unit(line), Unit(line)]


def test_after_a_refused_literal_the_next_line_is_a_command() -> None:
    framer = Framer(LIMIT, Literals.ON_REQUEST)
    framer.feed(b"a LOGIN {40}\r\n")
    assert framer.next_unit() == Unit(b"a LOGIN {40}\r\n", waits=True)
    framer.forget_literal()
    framer.feed(b"b NOOP\r\n")
    assert framer.next_unit() == Unit(b"b NOOP\r\n")


def test_taken_bytes_are_gone_and_the_rest_is_lines_again() -> None:
    framer = Framer(LIMIT)
    framer.feed(b"12345QUIT\r\nrest")
    assert framer.take(5) == b"12345"
    assert framer.next_unit() == Unit(b"QUIT\r\n")
    assert framer.held == 4
    assert framer.take() == b"rest"
    assert framer.held == 0
