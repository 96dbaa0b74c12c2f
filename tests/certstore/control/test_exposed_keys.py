"""After a node was stolen: new keys for everything that is ordered, a problem for everything else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from certstore.control.commands import requests, results
from certstore.control.commands.on_revocation import exposed_keys
from certstore.control.commands.table import perform
from certstore.control.exposed_keys import ExposedKeys
from certstore.control.protocol import Fault, RequestFailed
from certstore.control.upkeep import Upkeep
from certstore.files.clock import utc_now
from certstore.model.certificate.dropped_file import DroppedFile
from certstore.model.duty import Alone, Nobody
from certstore.model.layout import FULLCHAIN
from certstore.model.settings.models import SiteSettings
from certstore.store.revocations import read_revocation
from certstore.store.writer import StoreWriter
from tests.certificates import CertificateAuthority
from tests.certstore.renewal.scene import Clock, Scene, scene
from tests.certstore.stores import OTHER, SITE, problem_codes, writing
from tests.deadlines import wait_for

CA = CertificateAuthority()
CODE = "key_exposed"


@contextmanager
def looking(upkeep: Upkeep) -> Iterator[ExposedKeys]:
    exposed = exposed_keys(upkeep, Alone())
    exposed.start()
    try:
        yield exposed
    finally:
        exposed.stop()


def leaf(stage: Scene, site: str, number: int) -> x509.Certificate:
    return x509.load_pem_x509_certificate((stage.writer.layout.version(site, number) / FULLCHAIN).read_bytes())


def public_key(stage: Scene, site: str, number: int) -> bytes:
    return leaf(stage, site, number).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def install(writer: StoreWriter, site: str) -> None:
    writer.install_files(site, [DroppedFile("a.pem", CA.issue(site).combined_pem)], source="upload")


@pytest.mark.peer
def test_all_sites_that_are_ordered_get_new_keys_and_the_old_certificates_are_revoked(tmp_path: Path) -> None:
    with scene(tmp_path) as stage:
        sites = [stage.add("a.test"), stage.add("b.test", reuse_key=True), stage.add("c.test")]
        stage.writer.add_site(OTHER, SiteSettings(host=OTHER))
        install(stage.writer, OTHER)
        with stage.running() as upkeep:
            wait_for(lambda: all(stage.version(site) == 1 for site in sites), "all have their first certificate")
            with looking(upkeep):
                stage.writer.exposed_before = utc_now()
                wait_for(lambda: all(stage.version(site) == 2 for site in sites), "all have another certificate")
                for site in sites:
                    assert public_key(stage, site, 1) != public_key(stage, site, 2), "the site's setting keeps it else"
                    serial = leaf(stage, site, 1).serial_number
                    wait_for(lambda serial=serial: stage.pebble.revocation(serial) == 1, "the old one is revoked")  # type: ignore[misc]
                    assert stage.pebble.revocation(leaf(stage, site, 2).serial_number) is None
                    wait_for(lambda site=site: CODE not in problem_codes(stage.writer, site), "it is solved")  # type: ignore[misc]
                wait_for(lambda: CODE in problem_codes(stage.writer, OTHER), "what came as a file is named")
                install(stage.writer, OTHER)
                wait_for(lambda: CODE not in problem_codes(stage.writer, OTHER), "it was replaced")
        assert [stage.version(site) for site in sites] == [2, 2, 2], "once each"


@pytest.mark.peer
def test_after_a_restart_between_order_and_revocation_it_is_made_up_for(tmp_path: Path) -> None:
    with scene(tmp_path) as stage:
        site = stage.add("a.test")
        upkeep = stage.upkeep()
        first = perform(upkeep, requests.OrderRequest(site, force=True))
        stage.writer.exposed_before = utc_now()
        second = perform(upkeep, requests.OrderRequest(site, force=True))
        assert (first.outcome, second.outcome) == (results.OrderOutcome.DONE, results.OrderOutcome.DONE)
        exposed_keys(upkeep, Nobody()).round()
        assert read_revocation(stage.writer.layout, site, 1) is None, "another node has the duty"
        exposed_keys(upkeep, Alone()).round()
        assert stage.pebble.revocation(leaf(stage, site, 1).serial_number) == 1
        upkeep.stop()


class Asked:
    """Stands for renewal and the CA; what a CA does is shown above."""

    def __init__(self, writer: StoreWriter, clock: Clock) -> None:
        self.ordered: list[str] = []
        self.revoked: list[tuple[str, int]] = []
        self.is_away = False
        self.keys = ExposedKeys(writer, Alone(), self.ordered.append, self._revoke, clock=clock)

    def _revoke(self, site: str, version: int) -> None:
        self.revoked.append((site, version))
        if self.is_away:
            raise RequestFailed(Fault.REFUSED, "ca.test did not answer")


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[StoreWriter]:
    with writing(tmp_path / "store") as writer:
        writer.add_site(SITE, SiteSettings(host=SITE))
        yield writer


def test_without_a_theft_nothing_is_looked_at(writer: StoreWriter) -> None:
    install(writer, SITE)
    asked = Asked(writer, Clock())
    asked.keys.round()
    assert problem_codes(writer, SITE) == set()
    writer.exposed_before = utc_now() - timedelta(days=1)
    asked.keys.round()
    assert problem_codes(writer, SITE) == set(), "its key is from after the theft"


def test_a_self_signed_certificate_is_no_problem_of_its_own(writer: StoreWriter) -> None:
    writer.exposed_before = utc_now()
    Asked(writer, Clock()).keys.round()
    assert CODE not in problem_codes(writer, "main")


def test_a_ca_that_does_not_answer_is_asked_again_later(writer: StoreWriter) -> None:
    for _ in range(2):
        files = [DroppedFile("a.pem", CA.issue(SITE).combined_pem)]
        writer.install_files(SITE, files, source="acme:ca.test", doing="order")
        writer.exposed_before = writer.exposed_before or utc_now()
    clock = Clock()
    asked = Asked(writer, clock)
    asked.is_away = True
    for _ in range(3):
        asked.keys.round()
    assert asked.revoked == [(SITE, 1)]
    clock.forward(hours=2)
    asked.keys.round()
    assert asked.revoked == [(SITE, 1)] * 2
