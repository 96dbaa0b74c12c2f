import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certstore.model.certificate.dropped_file import DroppedFile
from certstore.model.certificate.expiry import CertificateState
from certstore.model.settings.models import SiteSettings, Source
from certstore.model.snapshot import MAIN
from certstore.store.reader import Store
from certstore.store.status import history, site_facts, status
from certstore.store.writer import UnknownSite
from tests.certificates import CertificateAuthority
from tests.certstore.stores import OTHER, SITE, acquire, check_until_decided, drop, drop_pair

KEYS = {"site", "host", "names", "source", "version", "fingerprint", "dns_names", "not_after", "state", "problems"}


def test_reader_and_writer_say_the_same(tmp_path: Path, ca: CertificateAuthority) -> None:
    now = datetime.now(UTC)
    with acquire(tmp_path) as writer:
        drop_pair(writer, SITE, ca.issue(SITE, "autodiscover.client-a.test"))
        check_until_decided(writer, SITE)
        writer.add_site("client-b", SiteSettings(host=OTHER, certificate=Source.MAIN))
        drop(writer, "broken.test", {"site.yaml": b"hots: x\n"})
        check_until_decided(writer, "broken.test")
        from_writer = [facts.to_json() for facts in status(writer, now)]
        from_reader = [facts.to_json() for facts in status(Store.open(tmp_path), now)]
        assert from_writer == from_reader
        assert history(writer, SITE) == history(Store.open(tmp_path), SITE)
    assert [facts["site"] for facts in from_reader] == [MAIN, "client-b", SITE, "broken.test"]
    assert all(set(facts) == KEYS | {"last_attempt"} for facts in from_reader)
    json.dumps(from_reader)


def test_status_of_a_site_with_a_certificate(tmp_path: Path, ca: CertificateAuthority) -> None:
    with acquire(tmp_path) as writer:
        issued = ca.issue(SITE, "autodiscover.client-a.test")
        drop_pair(writer, SITE, issued)
        check_until_decided(writer, SITE)
        facts = site_facts(writer, SITE, datetime.now(UTC)).to_json()
    assert facts | {"last_attempt": None} == {
        "site": SITE,
        "host": SITE,
        "names": [SITE, "autodiscover.client-a.test"],
        "source": "file",
        "version": 1,
        "fingerprint": issued.fingerprint,
        "dns_names": [SITE, "autodiscover.client-a.test"],
        "not_after": issued.not_after.isoformat(),
        "state": "ok",
        "problems": [],
        "last_attempt": None,
    }
    assert facts["last_attempt"]["outcome"] == "done"


@pytest.mark.parametrize(
    ("days", "state", "codes"),
    [
        (-10, CertificateState.NOT_YET_VALID, {"not_yet_valid"}),
        (10, CertificateState.OK, set()),
        (88, CertificateState.WARNING, {"expires_soon"}),
        (91, CertificateState.EXPIRED, {"expired"}),
    ],
)
def test_a_certificates_state_is_that_of_the_day_it_is_asked_on(
    tmp_path: Path, ca: CertificateAuthority, days: int, state: CertificateState, codes: set[str]
) -> None:
    with acquire(tmp_path) as writer:
        issued = ca.issue(SITE)
        drop_pair(writer, SITE, issued)
        check_until_decided(writer, SITE)
        facts = site_facts(writer, SITE, issued.not_before + timedelta(days=days))
    assert facts.state is state
    assert {str(problem.code) for problem in facts.problems} == codes


def test_problems_of_certificate_and_site_are_listed_together(tmp_path: Path, ca: CertificateAuthority) -> None:
    with acquire(tmp_path) as writer:
        writer.add_site(SITE, SiteSettings(host=SITE, additional_names=("imap.client-a.test",)))
        issued = ca.issue(SITE)
        bare = [DroppedFile("c", issued.cert_pem), DroppedFile("k", issued.privkey_pem)]
        writer.install_files(SITE, bare, source="upload")
        drop(writer, SITE, {"junk.pem": b"junk"})
        check_until_decided(writer, SITE)
        facts = site_facts(writer, SITE, datetime.now(UTC))
    codes = {str(problem.code) for problem in facts.problems}
    assert codes == {"drop_refused", "name_not_covered", "missing_intermediate"}
    assert any("imap.client-a.test" in problem.message for problem in facts.problems)


def test_history_says_which_version_is_live(tmp_path: Path, ca: CertificateAuthority) -> None:
    with acquire(tmp_path) as writer:
        writer.add_site(SITE, SiteSettings(host=SITE))
        for _ in range(3):
            writer.install_files(SITE, [DroppedFile("all", ca.issue(SITE).combined_pem)], source="upload")
        writer.rollback(SITE, 2)
        kept = [facts.to_json() for facts in history(writer, SITE)]
    assert [(each["version"], each["is_live"]) for each in kept] == [(3, False), (2, True), (1, False)]
    assert kept[0]["source"] == "upload"
    assert "PRIVATE" not in json.dumps(kept)


def test_an_unknown_site_is_reported_as_unknown(tmp_path: Path) -> None:
    with acquire(tmp_path) as writer, pytest.raises(UnknownSite, match="no site 'nowhere'"):
        site_facts(writer, "nowhere", datetime.now(UTC))
