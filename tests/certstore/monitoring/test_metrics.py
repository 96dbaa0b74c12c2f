"""What `/metrics` says of a store that really has these sites."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from certstore.model.certificate.expiry import CertificateState
from certstore.model.metrics import Sample
from certstore.model.snapshot import ServedCertificate
from certstore.monitoring.metrics import SITES, render
from certstore.monitoring.worker_reports import Gathered
from certstore.store.status import SiteFacts, status
from tests.certificates import CertificateAuthority
from tests.certstore.stores import SITE, acquire, check_until_decided, drop, drop_pair

NONE = Gathered((), ())


def parsed(page: bytes) -> dict[tuple[str, tuple[str, ...]], float]:
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


def test_certificates_attempts_and_problems_of_a_store(tmp_path: Path, ca: CertificateAuthority) -> None:
    now = datetime.now(UTC)
    with acquire(tmp_path) as writer:
        issued = ca.issue(SITE)
        drop_pair(writer, SITE, issued)
        check_until_decided(writer, SITE)
        drop(writer, "b.test", {"fullchain.pem": issued.fullchain_pem})
        check_until_decided(writer, "b.test")
        read = parsed(render(status(writer, now), NONE, now))
    remaining = read["certedge_certificate_remaining_seconds", (SITE,)]
    assert abs(remaining - (issued.not_after - now).total_seconds()) <= 1
    assert ("certedge_certificate_remaining_seconds", ("main",)) in read
    assert ("certedge_certificate_remaining_seconds", ("b.test",)) not in read
    assert read["certedge_last_attempts", ("intake", "done")] == 1
    assert read["certedge_last_attempts", ("intake", "refused")] == 1
    assert read["certedge_certificates", ("none",)] == 1
    assert read["certedge_site_problems", ("self_signed",)] == 1
    assert abs(read["certedge_last_attempt_timestamp_seconds", (SITE, "intake", "done")] - now.timestamp()) < 60


def test_the_numbers_of_workers_are_on_the_same_page() -> None:
    page = render((), Gathered((), (Sample("certedge_requests_total", ("a.test", "2xx"), 7),)), datetime.now(UTC))
    assert parsed(page) == {("certedge_requests_total", ("a.test", "2xx")): 7}


def test_of_many_sites_those_that_end_first_are_shown_and_main() -> None:
    now = datetime(2026, 6, 1, tzinfo=UTC)

    def site(name: str, days: int) -> SiteFacts:
        certificate = ServedCertificate(name, 1, "f", (name,), now, now + timedelta(days=days))
        return SiteFacts(name, name, (name,), "file", certificate, CertificateState.OK, (), None)

    sites = [site("main", 9999), *(site(f"{number}.test", number) for number in range(SITES + 10))]
    shown = {
        labels[0]
        for name, labels in parsed(render(sites, NONE, now))
        if name == "certedge_certificate_remaining_seconds"
    }
    assert len(shown) == SITES
    assert shown >= {"main", "0.test", "1.test"}
    assert f"{SITES + 9}.test" not in shown
