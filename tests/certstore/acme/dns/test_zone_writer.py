"""How every way to write says that it can't."""

from collections.abc import Callable
from pathlib import Path

from certstore.acme.dns.hook import HookWriter
from certstore.acme.dns.lexicon import LexiconWriter
from certstore.acme.dns.rfc2136 import Rfc2136Writer
from certstore.acme.dns.zone_writer import CannotWrite, ZoneWriter


def test_a_fault_is_worth_another_attempt_unless_it_says_otherwise() -> None:
    fault = CannotWrite("the server did not answer")
    assert (str(fault), fault.remedy, fault.needs_person) == ("the server did not answer", "", False)
    assert CannotWrite("refused", remedy="allow it", needs_person=True).needs_person


def test_all_ways_have_one_shape() -> None:
    ways: list[Callable[..., ZoneWriter]] = [Rfc2136Writer, LexiconWriter, HookWriter]
    assert [way(None, Path("/")).base for way in ways] == [Path("/")] * 3  # type: ignore[attr-defined]
