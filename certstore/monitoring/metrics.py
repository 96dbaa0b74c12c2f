"""The page `/metrics`: what workers counted, and what is known of each site's certificate, in Prometheus' text format.

    render(facts.status(writer, now), WorkerReports(layout).collect(now), now)

Sites with a label of their own are bounded: those whose certificates end first are shown, and main always.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime

from certstore.model.metrics import Sample, exposition
from certstore.model.snapshot import MAIN
from certstore.monitoring.worker_reports import Gathered
from certstore.store.status import SiteFacts

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SITES = 1000


def render(sites: Sequence[SiteFacts], workers: Gathered, now: datetime) -> bytes:
    """The whole page."""
    return exposition([*workers.samples, *_totals(sites), *_by_site(sites, now)])


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
    dated = [(each.certificate.not_after, each) for each in sites if each.certificate is not None]
    dated.sort(key=lambda pair: (pair[1].site != MAIN, pair[0], pair[1].site))
    for not_after, each in dated[:SITES]:
        remaining = round((not_after - now).total_seconds())
        yield Sample("certedge_certificate_remaining_seconds", (each.site,), remaining)
        attempt = each.last_attempt
        if attempt is not None:
            labels = (each.site, attempt.doing, attempt.outcome.value)
            yield Sample("certedge_last_attempt_timestamp_seconds", labels, round(attempt.at.timestamp()))
