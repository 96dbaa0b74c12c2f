"""The page `/metrics`: the workers' counts and the state of each site's certificate, in Prometheus's text format.

    render(status(writer, now), WorkerReports(layout).collect(now), now, {"job_refused": 2}, {"failing": 1})

The number of sites with their own label is limited to main and those whose certificates expire first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import accumulate
from types import MappingProxyType

from prometheus_client.core import Metric
from prometheus_client.exposition import generate_latest

from certstore.model.certificate.findings import Finding
from certstore.model.metrics import FAMILIES, LATENCY_BOUNDS, Family, Kind, Sample
from certstore.model.snapshot import MAIN
from certstore.monitoring.worker_reports import Gathered
from certstore.store.status import SiteFacts

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SITES = 1000


def render(
    sites: Sequence[SiteFacts],
    workers: Gathered,
    now: datetime,
    events: Mapping[str, int] = MappingProxyType({}),
    warnings: Mapping[str, int] = MappingProxyType({}),
    problems: Sequence[Finding] = (),
    more: Iterable[Sample] = (),
) -> bytes:
    """`events` are those of the control process, by cause; `warnings` the matters that stand now, by kind; `problems`
    those of the service; `more` are its other numbers.
    """
    own = [Sample("certedge_events_total", (cause,), number) for cause, number in events.items()]
    own += [Sample("certedge_warnings", (kind,), number) for kind, number in warnings.items()]
    for code, number in Counter(str(each.code) for each in problems).items():
        own.append(Sample("certedge_service_problems", (code,), number))
    return exposition([*workers.samples, *own, *_totals(sites), *_by_site(sites, now), *more])


def exposition(samples: Iterable[Sample]) -> bytes:
    """The samples in Prometheus's text format 0.0.4, in the order of the families."""
    by_family: dict[str, list[Sample]] = {name: [] for name in FAMILIES}
    for each in samples:
        by_family[each.name].append(each)
    return generate_latest(_Families([_metric(FAMILIES[name], of) for name, of in by_family.items() if of]))


class _Families(list[Metric]):
    """As much of a registry as `generate_latest` needs."""

    def collect(self) -> Iterator[Metric]:
        return iter(self)


def _metric(family: Family, samples: Iterable[Sample]) -> Metric:
    metric = Metric(family.name.removesuffix("_total"), family.help, family.kind.value)
    for each in sorted(samples, key=lambda sample: sample.labels):
        labels = dict(zip(family.labels, each.labels, strict=True))
        if family.kind is not Kind.HISTOGRAM:
            metric.add_sample(family.name, labels, each.value)
            continue
        bounds = (*map(str, LATENCY_BOUNDS), "+Inf")
        for bound, count in zip(bounds, accumulate(each.counts), strict=True):
            metric.add_sample(f"{family.name}_bucket", {**labels, "le": bound}, count)
        metric.add_sample(f"{family.name}_sum", labels, each.value)
        metric.add_sample(f"{family.name}_count", labels, sum(each.counts))
    return metric


def _totals(sites: Sequence[SiteFacts]) -> Iterator[Sample]:
    for state, number in Counter(each.state.value for each in sites).items():
        yield Sample("certedge_certificates", (state,), number)
    attempts = Counter(
        (each.last_attempt.doing, each.last_attempt.outcome.value) for each in sites if each.last_attempt is not None
    )
    for labels, number in attempts.items():
        yield Sample("certedge_last_attempts", labels, number)
    for code, number in Counter(str(problem.code) for each in sites for problem in each.problems).items():
        yield Sample("certedge_site_problems", (code,), number)


def _by_site(sites: Sequence[SiteFacts], now: datetime) -> Iterator[Sample]:
    dated = [(each.certificate, each) for each in sites if each.certificate is not None]
    dated.sort(key=lambda pair: (pair[1].site != MAIN, pair[0].not_after, pair[1].site))
    for certificate, each in dated[:SITES]:
        remaining = round((certificate.not_after - now).total_seconds())
        yield Sample("certedge_certificate_remaining_seconds", (each.site,), remaining)
        lifetime = round((certificate.not_after - certificate.not_before).total_seconds())
        yield Sample("certedge_certificate_lifetime_seconds", (each.site,), lifetime)
        attempt = each.last_attempt
        if attempt is not None:
            labels = (each.site, attempt.doing, attempt.outcome.value)
            yield Sample("certedge_last_attempt_timestamp_seconds", labels, round(attempt.at.timestamp()))
