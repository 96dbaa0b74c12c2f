import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from certstore.control.commands.requests import (
    AddSiteRequest,
    CommandRequest,
    InstallPreviewRequest,
    InstallRequest,
    RemoveSiteRequest,
    RollbackRequest,
    SetSiteRequest,
)
from certstore.control.commands.results import InstallResult, Served, SiteResult
from certstore.control.commands.table import perform
from certstore.control.protocol import Fault, RequestFailed
from certstore.model.certificate.dropped_file import DroppedFile
from certstore.model.layout import Layout
from certstore.model.record import Outcome
from certstore.model.selection import Reason
from certstore.model.settings.models import Source
from certstore.store.writer import StoreWriter
from tests.certificates import CertificateAuthority, Issued

HOST = "webmail.client-a.test"
CA = CertificateAuthority()


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[StoreWriter]:
    with StoreWriter.acquire(tmp_path / "store", main_host="mail.edge.test") as writer:
        yield writer


@pytest.fixture
def site(writer: StoreWriter) -> str:
    perform(writer, AddSiteRequest(HOST, {"host": HOST}))
    return HOST


def pair(issued: Issued) -> tuple[DroppedFile, ...]:
    return DroppedFile("fullchain.pem", issued.fullchain_pem), DroppedFile("privkey.pem", issued.privkey_pem)


def install(writer: StoreWriter, site: str, issued: Issued, *, force: bool = False) -> InstallResult:
    return perform(writer, InstallRequest(site, pair(issued), force=force))


def served(result: InstallResult | SiteResult) -> Served:
    assert result.served is not None
    return result.served


def failure(writer: StoreWriter, request: CommandRequest[Any]) -> RequestFailed:
    with pytest.raises(RequestFailed) as caught:
        perform(writer, request)
    return caught.value


def test_an_installed_certificate_is_what_its_host_gets(writer: StoreWriter, site: str) -> None:
    issued = CA.issue(HOST)
    result = install(writer, site, issued)
    assert result.outcome is Outcome.DONE
    assert result.served == Served(HOST, HOST, 1, issued.fingerprint, Reason.EXACT_NAME)


def leaf_alone(issued: Issued) -> tuple[DroppedFile, ...]:
    return (DroppedFile("leaf.pem", issued.privkey_pem + issued.cert_pem),)


def test_a_leaf_without_its_chain_asks_for_force(writer: StoreWriter, site: str) -> None:
    issued = CertificateAuthority("Elsewhere").issue(HOST)
    refused = perform(writer, InstallRequest(site, leaf_alone(issued)))
    assert refused.outcome is Outcome.REFUSED
    (finding,) = refused.findings
    assert (finding.code, finding.is_forcible) == ("missing_intermediate", True)
    preview = writer.preview(site, leaf_alone(issued))
    assert preview.forced is not None
    assert perform(writer, InstallPreviewRequest(preview)).outcome is Outcome.REFUSED
    forced = perform(writer, InstallRequest(site, leaf_alone(issued), force=True))
    assert forced.outcome is Outcome.DONE
    assert [problem.code for problem in forced.problems] == ["missing_intermediate"]


@pytest.mark.parametrize("of", ["site", "main"])
def test_a_leaf_without_its_chain_gets_that_of_an_earlier_version(writer: StoreWriter, site: str, of: str) -> None:
    install(writer, site if of == "site" else "main", CA.issue(HOST, "mail.edge.test"))
    result = perform(writer, InstallRequest(site, leaf_alone(issued := CA.issue(HOST))))
    assert (result.outcome, result.fingerprint) == (Outcome.DONE, issued.fingerprint)
    assert "is taken from an earlier version" in result.message
    assert (writer.layout.live(site) / "fullchain.pem").read_bytes() == issued.fullchain_pem


def test_a_leaf_without_its_chain_gets_nothing_from_another_site(writer: StoreWriter, site: str) -> None:
    """Somebody else could have put a certificate of the same name and key there."""
    perform(writer, AddSiteRequest("other.test", {"host": "other.test"}))
    install(writer, "other.test", CA.issue("other.test"))
    assert perform(writer, InstallRequest(site, leaf_alone(CA.issue(HOST)))).outcome is Outcome.REFUSED


def test_a_refused_certificate_is_a_result_with_every_reason(writer: StoreWriter, site: str) -> None:
    before = install(writer, site, CA.issue(HOST))
    certificate, key = CA.issue(HOST).fullchain_pem, CA.issue(HOST).privkey_pem
    mismatched = DroppedFile("c.pem", certificate), DroppedFile("k.pem", key)
    result = perform(writer, InstallRequest(site, mismatched))
    assert result.outcome is Outcome.REFUSED
    assert [finding.code for finding in result.findings] == ["key_mismatch"]
    assert result.served == before.served


def test_force_takes_an_expired_certificate_and_only_with_force(writer: StoreWriter, site: str) -> None:
    expired = CA.issue(HOST, not_after=dt.datetime.now(dt.UTC) - dt.timedelta(days=1))
    refused = install(writer, site, expired)
    assert refused.outcome is Outcome.REFUSED
    assert all(finding.is_forcible for finding in refused.findings)
    accepted = install(writer, site, expired, force=True)
    assert accepted.outcome is Outcome.DONE
    assert "expired" in [problem.code for problem in accepted.problems]


def test_a_pkcs12_file_is_opened_with_its_password(writer: StoreWriter, site: str) -> None:
    issued = CA.issue(HOST)
    files = (DroppedFile("a.p12", issued.pkcs12(b"secret")),)
    assert perform(writer, InstallRequest(site, files, b"guess")).outcome is Outcome.REFUSED
    assert perform(writer, InstallRequest(site, files, b"secret")).fingerprint == issued.fingerprint


def test_files_that_were_previewed_are_installed_without_being_read_again(writer: StoreWriter, site: str) -> None:
    expired = CA.issue(HOST, not_after=dt.datetime.now(dt.UTC) - dt.timedelta(days=1))
    preview = writer.preview(site, pair(expired))
    assert perform(writer, InstallPreviewRequest(preview)).outcome is Outcome.REFUSED
    assert perform(writer, InstallPreviewRequest(preview, force=True)).fingerprint == expired.fingerprint


def test_rollback_makes_the_version_before_live_again(writer: StoreWriter, site: str) -> None:
    first = install(writer, site, CA.issue(HOST))
    install(writer, site, CA.issue(HOST))
    assert perform(writer, RollbackRequest(site)).served == first.served
    assert served(perform(writer, RollbackRequest(site, 2))).version == 2


def test_rollback_to_a_version_that_is_not_there_names_those_that_are(writer: StoreWriter, site: str) -> None:
    install(writer, site, CA.issue(HOST))
    caught = failure(writer, RollbackRequest(site, 9))
    assert caught.fault is Fault.NOT_FOUND
    assert "kept: 1" in caught.found


def test_an_added_site_declares_its_names(writer: StoreWriter) -> None:
    settings = {"host": HOST, "additional_names": ["autodiscover.client-a.test"]}
    result = perform(writer, AddSiteRequest(HOST, settings))
    assert result.names == (HOST, "autodiscover.client-a.test")
    assert served(result).certificate == "main"
    assert yaml.safe_load(Layout(writer.layout.root).site_yaml(HOST).read_text()) == settings


def test_a_certificate_dropped_before_its_site_was_declared_is_served_when_it_is(writer: StoreWriter) -> None:
    CA.issue(HOST).write_to(writer.layout.drop_folder("client-a"))
    result = perform(writer, AddSiteRequest("client-a", {"host": HOST}))
    assert served(result).certificate == "client-a"


def test_a_site_is_not_added_twice(writer: StoreWriter, site: str) -> None:
    assert failure(writer, AddSiteRequest(site, {"host": HOST})).fault is Fault.EXISTS


def test_names_are_added_and_removed_one_by_one(writer: StoreWriter, site: str) -> None:
    added = perform(writer, SetSiteRequest(site, add_names=("b.test", "*.c.test")))
    assert added.names == (HOST, "b.test", "*.c.test")
    assert "new names: b.test, *.c.test" in added.message
    assert perform(writer, SetSiteRequest(site, remove_names=("b.test",))).names == (HOST, "*.c.test")
    assert failure(writer, SetSiteRequest(site, remove_names=("b.test",))).fault is Fault.INVALID


def test_unset_brings_the_default_back(writer: StoreWriter, site: str) -> None:
    install(writer, site, CA.issue(HOST))
    set_main = perform(writer, SetSiteRequest(site, {"certificate": "main"}))
    assert (set_main.source, served(set_main).certificate) == (Source.MAIN, "main")
    unset = perform(writer, SetSiteRequest(site, unset=("certificate",)))
    assert (unset.source, served(unset).certificate) == (Source.FILE, HOST)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"certificate": "files"}, "certificate: found 'files'; allowed:"),
        ({"host": "bad host"}, "host: "),
        ({"hots": "x.test"}, "did you mean host?"),
        ({"upstream": "ftp://x"}, "upstream"),
    ],
    ids=["choice", "host", "misspelt", "upstream"],
)
def test_settings_that_are_not_allowed_change_nothing(
    writer: StoreWriter, site: str, changes: dict[str, Any], said: str
) -> None:
    before = writer.layout.site_yaml(site).read_bytes()
    caught = failure(writer, SetSiteRequest(site, changes))
    assert caught.fault is Fault.INVALID
    assert said in caught.found
    assert writer.layout.site_yaml(site).read_bytes() == before


def test_a_removed_site_is_served_main_and_its_drop_does_not_bring_it_back(writer: StoreWriter, site: str) -> None:
    issued = CA.issue(HOST)
    issued.write_to(writer.layout.drop_folder(site))
    writer.check(site)
    install(writer, site, CA.issue(HOST))
    result = perform(writer, RemoveSiteRequest(site))
    assert (result.served.certificate, result.served.reason) == ("main", Reason.UNKNOWN_NAME)
    writer.check(site)
    assert site not in writer.sites()


def test_main_is_not_removed(writer: StoreWriter) -> None:
    assert failure(writer, RemoveSiteRequest("main")).fault is Fault.INVALID


@pytest.mark.parametrize(
    "request_",
    [
        InstallRequest("nowhere.test", ()),
        RollbackRequest("nowhere.test"),
        SetSiteRequest("nowhere.test", add_names=("a.test",)),
        RemoveSiteRequest("nowhere.test"),
    ],
    ids=lambda request: request.command,
)
def test_a_site_that_is_not_there_is_not_found(writer: StoreWriter, request_: CommandRequest[Any]) -> None:
    caught = failure(writer, request_)
    assert caught.fault is Fault.NOT_FOUND
    assert "nowhere.test" in caught.found
