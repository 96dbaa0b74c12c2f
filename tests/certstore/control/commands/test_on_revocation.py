"""Revoking what a site serves: something else is served first, and what is revoked is not served again."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from certstore.control.commands import on_revocation, requests, results
from certstore.control.commands.table import perform
from certstore.control.protocol import RequestFailed
from certstore.control.upkeep import Upkeep
from certstore.model.certificate.dropped_file import DroppedFile
from certstore.model.layout import FULLCHAIN, FULLCHAIN_RSA
from certstore.model.renewal.revocation import RevocationReason
from certstore.store.revocations import find_begun, read_revocation
from tests.certificates import CertificateAuthority
from tests.certstore.renewal.scene import Scene, scene

pytestmark = pytest.mark.peer
SITE = "a.test"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Scene]:
    with scene(tmp_path) as made:
        yield made


@pytest.fixture
def upkeep(stage: Scene) -> Iterator[Upkeep]:
    upkeep = stage.upkeep()
    yield upkeep
    upkeep.stop()


def order(upkeep: Upkeep, site: str = SITE) -> int:
    result = perform(upkeep, requests.OrderRequest(site, force=True))
    assert result.outcome is results.OrderOutcome.DONE, result
    assert result.version is not None
    return result.version


def certificate(stage: Scene, number: int, name: str = FULLCHAIN, site: str = SITE) -> x509.Certificate:
    return x509.load_pem_x509_certificate((stage.writer.layout.version(site, number) / name).read_bytes())


def reason_at_ca(stage: Scene, number: int, name: str = FULLCHAIN) -> int | None:
    return stage.pebble.revocation(certificate(stage, number, name).serial_number)


def test_live_certificate_is_replaced_by_an_order_and_then_revoked(stage: Scene, upkeep: Upkeep) -> None:
    stage.add(SITE)
    first = order(upkeep)
    result = perform(upkeep, requests.RevokeRequest(SITE, reason=RevocationReason.SUPERSEDED))
    assert (result.version, result.served.version) == (first, first + 1)
    assert stage.version(SITE) == first + 1
    assert reason_at_ca(stage, first) == 4
    assert reason_at_ca(stage, first + 1) is None
    assert read_revocation(stage.writer.layout, SITE, first) is not None
    assert [record.doing for record in stage.writer.records(SITE)][-1] == "revoke"
    assert stage.writer.problems(SITE) == ()


def test_failed_order_revokes_nothing(stage: Scene, upkeep: Upkeep) -> None:
    stage.add(SITE)
    first = order(upkeep)
    stage.responder.unhelpful = {SITE}
    with pytest.raises(RequestFailed) as failed:
        perform(upkeep, requests.RevokeRequest(SITE))
    assert "nothing is revoked" in failed.value.found
    assert "--no-order" in failed.value.remedy
    assert reason_at_ca(stage, first) is None
    assert stage.version(SITE) == first


def test_spent_key_is_not_used_again_even_where_the_site_keeps_it(stage: Scene, upkeep: Upkeep) -> None:
    stage.add(SITE, reuse_key=True)
    first = order(upkeep)
    assert order(upkeep) == first + 1
    result = perform(upkeep, requests.RevokeRequest(SITE, reason=RevocationReason.KEY_COMPROMISE))
    keys = [certificate(stage, number).public_key() for number in (first, first + 1, first + 2)]
    assert keys[0] == keys[1] != keys[2]
    assert reason_at_ca(stage, first + 1) == 1
    assert result.notes == (f"version {first} has the same key and is not revoked",)


def test_without_an_order_an_earlier_version_is_served(stage: Scene, upkeep: Upkeep) -> None:
    stage.add(SITE)
    first, second = order(upkeep), order(upkeep)
    result = perform(upkeep, requests.RevokeRequest(SITE, orders=False))
    assert (result.version, result.served.version) == (second, first)
    assert reason_at_ca(stage, second) == 0
    with pytest.raises(RequestFailed, match="was revoked on"):
        perform(stage.writer, requests.RollbackRequest(SITE, second))


def test_revoked_certificate_that_stays_live_is_a_problem_until_another_one_comes(stage: Scene, upkeep: Upkeep) -> None:
    stage.add(SITE, reuse_key=True)
    first = order(upkeep)
    before = certificate(stage, first).public_key()
    request = requests.RevokeRequest(SITE, reason=RevocationReason.KEY_COMPROMISE, orders=False)
    assert perform(upkeep, request).served.version == first
    assert [each.code for each in stage.writer.problems(SITE)] == ["live_revoked"]
    second = order(upkeep)
    assert certificate(stage, second).public_key() != before, "the spent key is not reused"
    assert stage.writer.problems(SITE) == ()


@pytest.mark.parametrize("has_earlier", [True, False], ids=["an earlier version", "no other version"])
def test_revocation_that_a_kill_cut_short_is_brought_to_its_end(
    stage: Scene, upkeep: Upkeep, has_earlier: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The CA and the note know of it, and the certificate is live still."""
    stage.add(SITE, reuse_key=True)
    order(upkeep)
    second = order(upkeep) if has_earlier else 1
    reason = RevocationReason.SUPERSEDED if has_earlier else RevocationReason.KEY_COMPROMISE
    request = requests.RevokeRequest(SITE, reason=reason, orders=False)
    with monkeypatch.context() as killed:
        killed.setattr(on_revocation, "_let_follow", stop_here)
        with pytest.raises(KeyboardInterrupt):
            perform(upkeep, request)
    assert read_revocation(stage.writer.layout, SITE, second) is not None
    assert stage.version(SITE) == second
    assert perform(upkeep, request).served.version == 1
    assert {each.code for each in stage.writer.problems(SITE)} == (set() if has_earlier else {"live_revoked"})
    assert upkeep.maintenance.memory.state(SITE).key_is_spent is not has_earlier


def test_revocation_killed_after_its_order_revokes_the_old_certificate_when_repeated(
    stage: Scene, upkeep: Upkeep, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.add(SITE)
    first = order(upkeep)
    with monkeypatch.context() as killed:
        killed.setattr(on_revocation, "_revoke_at_ca", stop_here)
        with pytest.raises(KeyboardInterrupt):
            perform(upkeep, requests.RevokeRequest(SITE))
    assert stage.version(SITE) == first + 1
    result = perform(upkeep, requests.RevokeRequest(SITE))
    assert (result.version, result.served.version) == (first, first + 1)
    assert "ends the revocation that was interrupted" in result.message
    assert (reason_at_ca(stage, first), reason_at_ca(stage, first + 1)) == (0, None)
    assert stage.version(SITE) == first + 1, "no third certificate is ordered"
    assert perform(upkeep, requests.RevokeRequest(SITE)).version == first + 1, "a new command means what is live"


def test_revocation_killed_after_its_rollback_does_not_revoke_the_earlier_version(
    stage: Scene, upkeep: Upkeep, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.add(SITE)
    first, second = order(upkeep), order(upkeep)
    request = requests.RevokeRequest(SITE, orders=False)
    with monkeypatch.context() as killed:
        killed.setattr(on_revocation, "forget_begun", stop_here)
        with pytest.raises(KeyboardInterrupt):
            perform(upkeep, request)
    assert stage.version(SITE) == first
    with pytest.raises(RequestFailed, match=f"version {second} was revoked on"):
        perform(upkeep, request)
    assert reason_at_ca(stage, first) is None


def test_revocation_whose_order_failed_pins_nothing(stage: Scene, upkeep: Upkeep) -> None:
    stage.add(SITE)
    first = order(upkeep)
    stage.responder.unhelpful = {SITE}
    with pytest.raises(RequestFailed):
        perform(upkeep, requests.RevokeRequest(SITE))
    assert find_begun(stage.writer.layout, SITE) is None
    stage.responder.unhelpful = set()
    second = order(upkeep)
    assert perform(upkeep, requests.RevokeRequest(SITE)).version == second != first


def stop_here(*args: object) -> None:
    raise KeyboardInterrupt


def test_version_that_is_not_live_is_revoked_and_nothing_else_changes(stage: Scene, upkeep: Upkeep) -> None:
    stage.add(SITE)
    first, second = order(upkeep), order(upkeep)
    perform(upkeep, requests.RevokeRequest(SITE, version=first))
    assert (reason_at_ca(stage, first), reason_at_ca(stage, second)) == (0, None)
    assert stage.version(SITE) == second
    with pytest.raises(RequestFailed, match="was revoked on"):
        perform(upkeep, requests.RevokeRequest(SITE, version=first))


def test_both_certificates_of_a_pair_are_revoked(stage: Scene, upkeep: Upkeep) -> None:
    stage.add(SITE, key_type="ec256+rsa2048")
    first = order(upkeep)
    perform(upkeep, requests.RevokeRequest(SITE, reason=RevocationReason.SUPERSEDED))
    assert [reason_at_ca(stage, first, name) for name in (FULLCHAIN, FULLCHAIN_RSA)] == [4, 4]


def test_what_no_ca_could_revoke_is_said(stage: Scene, upkeep: Upkeep) -> None:
    for site, found in (("main", "self-signed"), ("nowhere.test", "there is no site")):
        with pytest.raises(RequestFailed, match=found):
            perform(upkeep, requests.RevokeRequest(site))
    stage.add(SITE, certificate="file")
    with pytest.raises(RequestFailed, match="no live certificate"):
        perform(upkeep, requests.RevokeRequest(SITE))
    files = (DroppedFile("a.pem", CertificateAuthority().issue(SITE).combined_pem),)
    stage.writer.install_files(SITE, files, source="upload")
    with pytest.raises(RequestFailed) as failed:
        perform(upkeep, requests.RevokeRequest(SITE))
    assert "can be revoked only there" in failed.value.remedy
    assert read_revocation(stage.writer.layout, SITE, 1) is None
    with pytest.raises(RequestFailed, match="has no version 9"):
        perform(upkeep, requests.RevokeRequest(SITE, version=9))


def test_account_keys_are_not_changed_while_an_order_runs(stage: Scene, upkeep: Upkeep) -> None:
    stage.add(SITE)
    order(upkeep)
    with upkeep.maintenance._lanes.held(SITE), pytest.raises(RequestFailed, match="an order is under way"):
        perform(upkeep, requests.RollOverAccountsRequest())
    assert perform(upkeep, requests.RollOverAccountsRequest()).accounts[0].url is not None
