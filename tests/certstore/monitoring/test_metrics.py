"""`/metrics` for a real store with sites."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from certstore.model.certificate.expiry import CertificateState
from certstore.model.cluster.standing import ClusterStanding
from certstore.model.metrics import FAMILIES, LATENCY_BOUNDS, Kind, Sample
from certstore.model.snapshot import ServedCertificate
from certstore.monitoring.metrics import SITES, exposition, render
from certstore.monitoring.worker_reports import Gathered
from certstore.store.status import SiteFacts, status
from tests.certificates import CertificateAuthority
from tests.certstore.stores import SITE, acquire, check_until_decided, drop, drop_pair

NONE = Gathered((), ())


def parsed(page: bytes) -> dict[tuple[str, tuple[str, ...]], float]:
    """Values by name and label values, in the order of the labels' names."""
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
    lifetime = read["certedge_certificate_lifetime_seconds", (SITE,)]
    assert lifetime == round((issued.not_after - issued.not_before).total_seconds())
    assert ("certedge_certificate_remaining_seconds", ("main",)) in read
    assert ("certedge_certificate_remaining_seconds", ("b.test",)) not in read
    assert read["certedge_last_attempts", ("intake", "done")] == 1
    assert read["certedge_last_attempts", ("intake", "refused")] == 1
    assert read["certedge_certificates", ("none",)] == 1
    assert read["certedge_site_problems", ("self_signed",)] == 1
    assert abs(read["certedge_last_attempt_timestamp_seconds", ("intake", "done", SITE)] - now.timestamp()) < 60


def test_the_numbers_of_workers_are_on_the_same_page() -> None:
    page = render((), Gathered((), (Sample("certedge_requests_total", ("a.test", "2xx"), 7),)), datetime.now(UTC))
    assert parsed(page) == {("certedge_requests_total", ("2xx", "a.test")): 7}


def test_how_a_node_stands_in_its_cluster_is_on_the_same_page() -> None:
    now = datetime.now(UTC)
    standing = ClusterStanding(
        "edge-a", "c" * 16, now, True, now, "1 node, in step", unpublished=3, refused={"stale": 2}
    )
    page = parsed(render([], NONE, now, more=standing.samples()))
    assert page["certedge_cluster_attached", ()] == 1
    assert page["certedge_cluster_unpublished", ()] == 3
    assert page["certedge_cluster_refused_records_total", ("stale",)] == 2


def test_of_many_sites_main_and_those_that_expire_first_are_shown() -> None:
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


REQUESTS = "certedge_requests_total"
LATENCY = "certedge_upstream_seconds"


def histogram(*counts: int, total: float = 1.5) -> Sample:
    return Sample(LATENCY, (), total, tuple([*counts] + [0] * (len(LATENCY_BOUNDS) + 1 - len(counts))))


def labelled(samples: list[Sample]) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    page = exposition(samples).decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def test_every_family_has_a_name_help_and_type_that_prometheus_accepts() -> None:
    samples = [
        histogram(1) if family.kind is Kind.HISTOGRAM else Sample(name, ("x",) * len(family.labels), 1.0)
        for name, family in FAMILIES.items()
    ]
    families = {family.name: family for family in text_string_to_metric_families(exposition(samples).decode())}
    for name, family in FAMILIES.items():
        read = families[name.removesuffix("_total") if family.kind is Kind.COUNTER else name]
        assert (read.type, bool(read.documentation)) == (family.kind.value, True)
        assert name.endswith("_total") is (family.kind is Kind.COUNTER)


@given(st.text(max_size=20))
def test_any_label_comes_back_as_it_was(site: str) -> None:
    page = exposition([Sample(REQUESTS, (site, "2xx"), 3)]).decode()
    (family,) = text_string_to_metric_families(page)
    (sample,) = family.samples
    assert sample.value == 3
    if not set(site) & {"\r", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"}:
        assert sample.labels == {"site": site, "code": "2xx"}


def test_buckets_add_up_from_the_smallest_on() -> None:
    read = labelled([histogram(2, 0, 1)])
    assert read[LATENCY + "_bucket", (("le", "0.005"),)] == 2
    assert read[LATENCY + "_bucket", (("le", "0.01"),)] == 2
    assert read[LATENCY + "_bucket", (("le", "0.025"),)] == 3
    assert read[LATENCY + "_bucket", (("le", "+Inf"),)] == 3
    assert read[LATENCY + "_count", ()] == 3
    assert read[LATENCY + "_sum", ()] == 1.5
