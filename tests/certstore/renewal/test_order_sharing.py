"""A node by itself orders for every site, and asks nobody."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from certstore.model.certificate.dropped_file import DroppedFile
from certstore.model.progress import tell_nobody
from certstore.model.renewal.decision import RenewalReason
from certstore.model.settings.models import Settings, SiteSettings, Source
from certstore.renewal.attempt import Attempt
from certstore.renewal.loop import Maintenance
from certstore.renewal.order_sharing import AskingNobody, OneNode, OrderHold, OrderNotAllowed
from certstore.store.versions import read_live
from certstore.store.writer import StoreWriter
from tests.certificates import CertificateAuthority, Issued
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


class Meanwhile(OneNode):
    """As the right to order comes: another node had it, and its certificate is here by now."""

    def __init__(self, writer: StoreWriter, issued: Issued) -> None:
        self._writer, self._issued = writer, issued
        self.is_held = False

    def take(self, site: str) -> OrderHold:
        self.is_held = True
        files = [("fullchain.pem", self._issued.fullchain_pem), ("privkey.pem", self._issued.privkey_pem)]
        self._writer.install_files(site, [DroppedFile(*each) for each in files], source="acme:ca", doing="order")
        return self

    def release(self) -> None:
        self.is_held = False


@pytest.mark.parametrize("reason", [RenewalReason.FIRST, RenewalReason.ASKED_FOR])
def test_what_another_node_has_ordered_is_not_ordered_again(
    reason: RenewalReason, tmp_path: Path, ca: CertificateAuthority
) -> None:
    """A node that was paused decided before that. What a person asked for ends with its order, too."""
    settings = Settings.model_validate({"acme": {"directory": "https://127.0.0.1:1/dir"}})
    with writing(tmp_path / "store") as writer:
        writer.add_site(SITE, SiteSettings(host=SITE, certificate=Source.ACME))
        orders = Meanwhile(writer, ca.issue(SITE))
        maintenance = Maintenance(writer, settings, tmp_path, orders=orders)
        target = maintenance.context.sites.to_renew(writer.site(SITE))
        assert target is not None
        is_asked_for = reason is RenewalReason.ASKED_FOR
        attempt = Attempt(maintenance.context, target, reason, tell_nobody, only_resumes=is_asked_for)
        with pytest.raises(OrderNotAllowed, match="has got a certificate meanwhile"):
            attempt.check()
        assert not orders.is_held
        assert maintenance.memory.state(SITE).failures == 0
        maintenance.stop()
