"""Which orders in the journal are stale when a process starts: those that it can't resume."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certstore.acme.order_journal import TOO_OLD, OrderJournal, OrderRequest, OrderUnderWay, Part
from tests.certificates import CertificateAuthority, Issued
from tests.certstore.acme.workshop import make_layout

NOW = datetime(2026, 11, 1, tzinfo=UTC)
ISSUED = CertificateAuthority().issue("a.test")


def order(*, age: timedelta = timedelta(), issued: Issued | None = ISSUED, parts: int = 1) -> OrderUnderWay:
    """An order for `parts` certificates, the first of which has come if there is an `issued`."""
    first = Part("ec256", b"KEY", "https://ca.test/1", issued.fullchain_pem.decode() if issued is not None else None)
    others = [Part(f"rsa{2048 + number}", b"KEY", "https://ca.test/2") for number in range(parts - 1)]
    return OrderUnderWay(OrderRequest("a.test", "ca", ("a.test",), "ec256"), NOW - age, (first, *others))


@pytest.fixture
def journal(tmp_path: Path) -> OrderJournal:
    return OrderJournal(make_layout(tmp_path))


def test_order_whose_certificate_was_made_live_before_a_kill_is_stale(journal: OrderJournal) -> None:
    journal.keep(order())
    assert list(journal.stale({"a.test": ISSUED.fingerprint}.get, NOW)) == ["a.test"]


@pytest.mark.parametrize(
    "kept",
    [order(), order(issued=None), order(parts=2), order(age=TOO_OLD - timedelta(seconds=1))],
    ids=["issued but not live", "not issued yet", "one of two not issued yet", "almost too old"],
)
def test_order_that_can_go_on_stays(journal: OrderJournal, kept: OrderUnderWay) -> None:
    journal.keep(kept)
    assert journal.stale({"a.test": "0" * 64, "b.test": ISSUED.fingerprint}.get, NOW) == {}
    assert journal.load("a.test") == kept


def test_second_of_two_certificates_that_is_still_to_come_keeps_the_order(journal: OrderJournal) -> None:
    journal.keep(order(parts=2))
    assert journal.stale({"a.test": ISSUED.fingerprint}.get, NOW) == {}


@pytest.mark.parametrize("age", [TOO_OLD, -timedelta(days=1)], ids=["too old", "from a clock that was ahead"])
def test_order_that_no_attempt_would_resume_is_stale(journal: OrderJournal, age: timedelta) -> None:
    journal.keep(order(age=age, issued=None))
    assert list(journal.stale(lambda site: None, NOW)) == ["a.test"]


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\x00", b'{"site": "a.test"'])
def test_damaged_order_is_stale(journal: OrderJournal, tmp_path: Path, content: bytes) -> None:
    journal.keep(order())
    (tmp_path / "state" / "orders" / "a.test.json").write_bytes(content)
    assert list(journal.stale(lambda site: None, NOW)) == ["a.test"]


def test_chain_that_is_none_keeps_no_process_from_starting(journal: OrderJournal) -> None:
    broken = order().with_part(Part("ec256", b"KEY", "https://ca.test/1", "-----BEGIN CERTIFICATE-----\nx"))
    journal.keep(broken)
    assert journal.stale({"a.test": ISSUED.fingerprint}.get, NOW) == {}
