from datetime import UTC, datetime
from pathlib import Path

import pytest

from certstore.model.layout import Layout
from certstore.model.renewal.ca import find_ca
from certstore.renewal.memory import RenewalMemory
from tests.certstore.acme.workshop import make_layout

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
CA = find_ca("letsencrypt")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return make_layout(tmp_path / "store")


def test_counts_outlive_a_restart(layout: Layout) -> None:
    memory = RenewalMemory(layout, NOW)
    with memory.ledger(CA) as ledger:
        ledger.note_order(NOW)
    memory.close()
    again = RenewalMemory(layout, NOW)
    with again.ledger(CA) as ledger:
        assert ledger.events("orders:") == [NOW.timestamp()]
    again.close()


@pytest.mark.parametrize("times", ["5", '"x"', '["x"]', "[null]", "[1e30]", "[NaN]", "[[1]]", "{}"])
def test_counter_that_is_none_stops_neither_renewals_nor_the_other_counters(layout: Layout, times: str) -> None:
    memory = RenewalMemory(layout, NOW)
    with memory.ledger(CA) as ledger:
        ledger.note_order(NOW)
    memory.close()
    with layout.ca_counters.open("a") as file:
        file.write(f'["{CA.key}|failed:a.test",{times}]\n')
    again = RenewalMemory(layout, NOW)
    with again.ledger(CA) as ledger:
        ledger.note_failed("a.test", NOW)
        assert ledger.events("failed:a.test") == [NOW.timestamp()]
        assert ledger.events("orders:") == [NOW.timestamp()]
    again.close()
