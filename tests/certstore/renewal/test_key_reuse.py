"""Sites that keep their key, for TLSA records of the form 3 1 1: against a real Pebble."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from certstore.acme.order_journal import OrderJournal, OrderRequest, OrderUnderWay, Part
from certstore.control.upkeep import Upkeep
from certstore.model.layout import FULLCHAIN, FULLCHAIN_RSA
from certstore.model.progress import tell_nobody
from certstore.model.settings.models import SiteSettings
from certstore.renewal.attempt import Attempted
from tests.certstore.renewal.scene import Scene, scene

pytestmark = pytest.mark.peer


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Scene]:
    with scene(tmp_path) as made:
        yield made


def public_key(stage: Scene, site: str, name: str = FULLCHAIN) -> bytes:
    """What a TLSA record 3 1 1 is made of."""
    certificate = x509.load_pem_x509_certificate((stage.writer.layout.live(site) / name).read_bytes())
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def order(stage: Scene, upkeep: Upkeep, site: str, *, new_key: bool = False) -> Attempted:
    attempted = upkeep.maintenance.attempt_now(site, tell_nobody, force=True, new_key=new_key)
    assert attempted.result is not None, attempted
    return attempted


@pytest.mark.parametrize(("reuse", "is_same"), [(True, True), (False, False), (None, False)])
def test_renewal_keeps_the_key_only_where_it_is_set(stage: Scene, reuse: bool | None, is_same: bool) -> None:
    site = stage.add("a.test", reuse_key=reuse)
    upkeep = stage.upkeep()
    order(stage, upkeep, site)
    before = public_key(stage, site)
    order(stage, upkeep, site)
    assert stage.version(site) == 2, "another certificate in any case"
    assert (public_key(stage, site) == before) is is_same
    upkeep.stop()


def test_setting_of_the_edge_is_the_default_of_its_sites(tmp_path: Path) -> None:
    with scene(tmp_path, reuse_key=True) as stage:
        kept, renewed = stage.add("a.test"), stage.add("b.test", reuse_key=False)
        upkeep = stage.upkeep()
        before = {}
        for site in (kept, renewed):
            order(stage, upkeep, site)
            before[site] = public_key(stage, site)
            order(stage, upkeep, site)
        assert public_key(stage, kept) == before[kept]
        assert public_key(stage, renewed) != before[renewed]
        upkeep.stop()


def test_both_keys_of_a_pair_are_kept(stage: Scene) -> None:
    site = stage.add("a.test", reuse_key=True, key_type="ec256+rsa2048")
    upkeep = stage.upkeep()
    order(stage, upkeep, site)
    before = public_key(stage, site), public_key(stage, site, FULLCHAIN_RSA)
    order(stage, upkeep, site)
    assert (public_key(stage, site), public_key(stage, site, FULLCHAIN_RSA)) == before
    upkeep.stop()


def test_another_key_type_gets_a_new_key_and_keeps_the_one_that_fits(stage: Scene) -> None:
    site = stage.add("a.test", reuse_key=True)
    upkeep = stage.upkeep()
    order(stage, upkeep, site)
    before = public_key(stage, site)
    stage.writer.set_site(site, {"key_type": "ec256+rsa2048"})
    order(stage, upkeep, site)
    assert public_key(stage, site) == before
    stage.writer.set_site(site, {"key_type": "ec384"})
    order(stage, upkeep, site)
    assert public_key(stage, site) != before
    upkeep.stop()


def test_person_can_ask_for_a_new_key_once(stage: Scene) -> None:
    site = stage.add("a.test", reuse_key=True)
    upkeep = stage.upkeep()
    order(stage, upkeep, site)
    before = public_key(stage, site)
    order(stage, upkeep, site, new_key=True)
    fresh = public_key(stage, site)
    assert fresh != before
    order(stage, upkeep, site)
    assert public_key(stage, site) == fresh
    upkeep.stop()


def test_interrupted_order_with_another_rule_for_its_key_is_not_resumed(stage: Scene) -> None:
    journal, now = OrderJournal(stage.writer.layout), stage.clock()
    kept = OrderRequest("a.test", "ca", ("a.test",), "ec256", reuses_key=True)
    journal.keep(OrderUnderWay(kept, now, (Part("ec256", b"key"),)))
    found = journal.find(kept, now)
    assert found is not None
    assert found.request.reuses_key
    assert journal.find(OrderRequest("a.test", "ca", ("a.test",), "ec256"), now) is None


def test_site_yaml_takes_the_setting() -> None:
    assert SiteSettings.model_validate({"host": "a.test", "reuse_key": True}).reuse_key is True
    assert SiteSettings.model_validate({"host": "a.test"}).reuse_key is None
