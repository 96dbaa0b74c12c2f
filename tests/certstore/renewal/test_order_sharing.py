"""A node by itself orders for every site, and asks nobody."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from certstore.renewal.order_sharing import AskingNobody, OneNode, OrderNotAllowed
from certstore.store.versions import read_live
from tests.certificates import CertificateAuthority
from tests.certstore.stores import SITE, drop_pair, writing


def test_what_a_node_by_itself_orders_goes_live(tmp_path: Path, ca: CertificateAuthority) -> None:
    with writing(tmp_path) as writer:
        drop_pair(writer, SITE, ca.issue(SITE))
        writer.check(SITE)
        hold = OneNode().take(SITE)
        version = read_live(writer.layout, "main")
        assert version is not None
        assert version.made_at <= datetime.now(UTC)
        assert hold.consent(version) is None
        hold.release()
        assert list(OneNode().journal(writer.layout).sites()) == []
        assert OneNode().accounts(writer.layout).thumbprints() == set()


def test_a_node_that_can_not_ask_the_others_orders_for_who_insists() -> None:
    orders = AskingNobody("the service does not run")
    with pytest.raises(OrderNotAllowed, match="the service does not run, and another node may be ordering") as refused:
        orders.take(SITE)
    assert f"certedge cert request {SITE} --detached" in refused.value.remedy
    orders.take_detached(SITE).release()


def test_a_refusal_says_what_to_do() -> None:
    refusal = OrderNotAllowed("edge-b orders", "wait")
    assert (str(refusal), refusal.remedy) == ("edge-b orders", "wait")
