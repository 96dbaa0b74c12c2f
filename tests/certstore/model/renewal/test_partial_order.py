from collections.abc import Collection

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certstore.model.renewal.partial_order import HoldBack, OrderFor, Urgency, select_names

HOST, B, C = NAMES = ("host.test", "b.test", "c.test")


@pytest.mark.parametrize(
    ("fatal", "failed", "urgency", "was_tried", "expected"),
    [
        ((), (), Urgency.SAFE, False, OrderFor(NAMES)),
        ((B,), (), Urgency.SAFE, False, HoldBack((B,))),
        ((), (B,), Urgency.SAFE, False, OrderFor(NAMES)),
        ((B,), (), Urgency.ENDANGERED, False, OrderFor(NAMES, is_trial=True)),
        ((HOST,), (), Urgency.ENDANGERED, False, OrderFor(NAMES, is_trial=True)),
        ((B,), (), Urgency.ENDANGERED, True, OrderFor((HOST, C), (B,))),
        ((), (C,), Urgency.ENDANGERED, True, OrderFor((HOST, B), (C,))),
        ((B,), (C,), Urgency.ENDANGERED, True, OrderFor((HOST,), (B, C))),
        ((HOST, B), (), Urgency.ENDANGERED, True, HoldBack((HOST, B))),
        ((), (HOST,), Urgency.ENDANGERED, True, OrderFor(NAMES)),
        ((), (), Urgency.NONE, False, OrderFor(NAMES)),
        ((B,), (), Urgency.NONE, False, OrderFor((HOST, C), (B,))),
        ((HOST,), (), Urgency.NONE, False, HoldBack((HOST,))),
    ],
    ids=[
        "all well",
        "a bad name holds a safe certificate's order back",
        "what only the CA refused is tried again with every name",
        "an endangered one is tried with every name, whatever the preflight says",
        "even where the host is at fault",
        "after the trial the bad name is left out",
        "and so is one that the CA refused",
        "and both kinds together",
        "the host is never left out",
        "a host that the CA refused is tried again",
        "a first order",
        "a first order does without the bad name at once",
        "a first order without its host is none",
    ],
)
def test_names_of_an_order(
    fatal: Collection[str], failed: Collection[str], urgency: Urgency, was_tried: bool, expected: OrderFor | HoldBack
) -> None:
    assert select_names(NAMES, fatal=fatal, failed=failed, urgency=urgency, was_tried=was_tried) == expected


@given(st.sets(st.sampled_from(NAMES)), st.sets(st.sampled_from(NAMES)), st.sampled_from(Urgency), st.booleans())
def test_every_order_has_the_host_and_loses_no_name_in_silence(
    fatal: set[str], failed: set[str], urgency: Urgency, was_tried: bool
) -> None:
    chosen = select_names(NAMES, fatal=fatal, failed=failed, urgency=urgency, was_tried=was_tried)
    if isinstance(chosen, OrderFor):
        assert chosen.names[0] == HOST
        assert set(chosen.names) | set(chosen.left_out) == set(NAMES)
        assert not set(chosen.names) & set(chosen.left_out)
    else:
        assert set(chosen.names) == fatal
