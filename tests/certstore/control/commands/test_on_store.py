import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from certstore.control.commands.on_store import perform
from certstore.control.protocol import Fault, RequestFailed, pack_bytes, pack_files
from certstore.model.layout import Layout
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
    perform(writer, "site.add", {"site": HOST, "settings": {"host": HOST}})
    return HOST


def install(writer: StoreWriter, site: str, issued: Issued, **more: Any) -> dict[str, Any]:
    files = pack_files([("fullchain.pem", issued.fullchain_pem), ("privkey.pem", issued.privkey_pem)])
    return perform(writer, "cert.install", {"site": site, "files": files, **more})


def failure(writer: StoreWriter, verb: str, args: dict[str, Any]) -> RequestFailed:
    with pytest.raises(RequestFailed) as caught:
        perform(writer, verb, args)
    return caught.value


def test_an_installed_certificate_is_what_its_host_gets(writer: StoreWriter, site: str) -> None:
    issued = CA.issue(HOST)
    facts = install(writer, site, issued)
    assert facts["outcome"] == "done"
    assert facts["served"] == {
        "server_name": HOST,
        "certificate": HOST,
        "version": 1,
        "fingerprint": issued.fingerprint,
        "reason": "exact_name",
    }


def test_a_refused_certificate_is_a_result_with_every_reason(writer: StoreWriter, site: str) -> None:
    before = install(writer, site, CA.issue(HOST))
    mismatched = pack_files([("c.pem", CA.issue(HOST).fullchain_pem), ("k.pem", CA.issue(HOST).privkey_pem)])
    facts = perform(writer, "cert.install", {"site": site, "files": mismatched})
    assert facts["outcome"] == "refused"
    assert [finding["code"] for finding in facts["findings"]] == ["key_mismatch"]
    assert facts["served"] == before["served"]


def test_force_takes_an_expired_certificate_and_only_with_force(writer: StoreWriter, site: str) -> None:
    expired = CA.issue(HOST, not_after=dt.datetime.now(dt.UTC) - dt.timedelta(days=1))
    refused = install(writer, site, expired)
    assert refused["outcome"] == "refused"
    assert all(finding["is_forcible"] for finding in refused["findings"])
    taken = install(writer, site, expired, force=True)
    assert taken["outcome"] == "done"
    assert "expired" in [problem["code"] for problem in taken["problems"]]


def test_a_pkcs12_file_is_opened_with_its_password(writer: StoreWriter, site: str) -> None:
    issued = CA.issue(HOST)
    args = {"site": site, "files": pack_files([("a.p12", issued.pkcs12(b"secret"))])}
    wrong = perform(writer, "cert.install", {**args, "password": pack_bytes(b"guess")})
    assert wrong["outcome"] == "refused"
    right = perform(writer, "cert.install", {**args, "password": pack_bytes(b"secret")})
    assert right["fingerprint"] == issued.fingerprint


def test_rollback_makes_the_version_before_live_again(writer: StoreWriter, site: str) -> None:
    first = install(writer, site, CA.issue(HOST))
    install(writer, site, CA.issue(HOST))
    assert perform(writer, "cert.rollback", {"site": site})["served"] == first["served"]
    forward = perform(writer, "cert.rollback", {"site": site, "version": 2})
    assert forward["served"]["version"] == 2


def test_rollback_to_a_version_that_is_not_there_names_those_that_are(writer: StoreWriter, site: str) -> None:
    install(writer, site, CA.issue(HOST))
    caught = failure(writer, "cert.rollback", {"site": site, "version": 9})
    assert caught.fault is Fault.NOT_FOUND
    assert "kept: 1" in caught.found


def test_an_added_site_declares_its_names(writer: StoreWriter) -> None:
    settings = {"host": HOST, "additional_names": ["autodiscover.client-a.test"]}
    facts = perform(writer, "site.add", {"site": HOST, "settings": settings})
    assert facts["names"] == [HOST, "autodiscover.client-a.test"]
    assert facts["served"]["certificate"] == "main"
    assert yaml.safe_load(Layout(writer.layout.root).site_yaml(HOST).read_text()) == settings


def test_a_certificate_dropped_before_its_site_was_declared_is_served_when_it_is(writer: StoreWriter) -> None:
    CA.issue(HOST).write_to(writer.layout.drop_folder("client-a"))
    facts = perform(writer, "site.add", {"site": "client-a", "settings": {"host": HOST}})
    assert facts["served"]["certificate"] == "client-a"


def test_a_site_is_not_added_twice(writer: StoreWriter, site: str) -> None:
    assert failure(writer, "site.add", {"site": site, "settings": {"host": HOST}}).fault is Fault.EXISTS


def test_names_are_added_and_removed_one_by_one(writer: StoreWriter, site: str) -> None:
    added = perform(writer, "site.set", {"site": site, "add_names": ["b.test", "*.c.test"]})
    assert added["names"] == [HOST, "b.test", "*.c.test"]
    assert "new names: b.test, *.c.test" in added["message"]
    removed = perform(writer, "site.set", {"site": site, "remove_names": ["b.test"]})
    assert removed["names"] == [HOST, "*.c.test"]
    assert failure(writer, "site.set", {"site": site, "remove_names": ["b.test"]}).fault is Fault.INVALID


def test_unset_brings_the_default_back(writer: StoreWriter, site: str) -> None:
    install(writer, site, CA.issue(HOST))
    set_main = perform(writer, "site.set", {"site": site, "changes": {"certificate": "main"}})
    assert (set_main["source"], set_main["served"]["certificate"]) == ("main", "main")
    unset = perform(writer, "site.set", {"site": site, "unset": ["certificate"]})
    assert (unset["source"], unset["served"]["certificate"]) == ("file", HOST)


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
    caught = failure(writer, "site.set", {"site": site, "changes": changes})
    assert caught.fault is Fault.INVALID
    assert said in caught.found
    assert writer.layout.site_yaml(site).read_bytes() == before


def test_a_removed_site_is_served_main_and_its_drop_does_not_bring_it_back(writer: StoreWriter, site: str) -> None:
    issued = CA.issue(HOST)
    issued.write_to(writer.layout.drop_folder(site))
    writer.check(site)
    install(writer, site, CA.issue(HOST))
    facts = perform(writer, "site.remove", {"site": site})
    assert (facts["served"]["certificate"], facts["served"]["reason"]) == ("main", "unknown_name")
    writer.check(site)
    assert site not in writer.sites()


def test_main_is_not_removed(writer: StoreWriter) -> None:
    assert failure(writer, "site.remove", {"site": "main"}).fault is Fault.INVALID


@pytest.mark.parametrize("verb", ["cert.install", "cert.rollback", "site.set", "site.remove"])
def test_a_site_that_is_not_there_is_said(writer: StoreWriter, verb: str) -> None:
    caught = failure(writer, verb, {"site": "nowhere.test", "files": [], "add_names": ["a.test"]})
    assert caught.fault is Fault.NOT_FOUND
    assert "nowhere.test" in caught.found


@pytest.mark.parametrize(
    ("verb", "args"),
    [
        ("fly", {}),
        ("cert.install", {}),
        ("cert.install", {"site": HOST}),
        ("cert.install", {"site": HOST, "files": [], "force": "yes"}),
        ("cert.install", {"site": HOST, "files": [], "password": 3}),
        ("cert.rollback", {"site": HOST, "version": "2"}),
        ("cert.rollback", {"site": HOST, "version": True}),
        ("site.set", {"site": HOST, "add_names": "a.test"}),
        ("site.set", {"site": HOST, "add_names": [1]}),
        ("site.add", {"site": "b.test", "settings": []}),
    ],
)
def test_arguments_of_the_wrong_shape_are_a_bad_request(
    writer: StoreWriter, site: str, verb: str, args: dict[str, Any]
) -> None:
    assert failure(writer, verb, args).fault is Fault.BAD_REQUEST


@pytest.mark.parametrize("key", ["../main", "a/b", "", ".", "A.test", "x" * 300, "a\0b"])
def test_a_key_that_could_be_a_path_is_refused(writer: StoreWriter, key: str) -> None:
    assert failure(writer, "cert.install", {"site": key, "files": []}).fault is Fault.INVALID
