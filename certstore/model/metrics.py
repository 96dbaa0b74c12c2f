"""What is measured, under which names, and how the counters of several processes become one page for Prometheus.

Pure. Workers count in plain numbers and report them now and then; control adds the reports up and writes them in
Prometheus' text format (version 0.0.4). A family says how its values of several workers are put together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

LATENCY_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of the upstream latency's buckets, in seconds; what takes longer is in one more bucket."""

OTHER_SITES = "other"
"""The label of all sites beyond the bound on labels."""


class Kind(StrEnum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Family:
    """One metric. `is_greatest`: of several workers' values the greatest counts, not the sum."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    is_greatest: bool = False


_TABLE = (
    Family("certedge_connections_total", Kind.COUNTER, "Accepted client connections.", ("listener",)),
    Family("certedge_connections_open", Kind.GAUGE, "Client connections that are open.", ("listener",)),
    Family(
        "certedge_handshakes_total",
        Kind.COUNTER,
        "TLS handshakes; version is empty where none was agreed on, outcome is done or why it failed.",
        ("listener", "version", "outcome"),
    ),
    Family(
        "certedge_certificates_chosen_total",
        Kind.COUNTER,
        "Handshakes by the certificate shown (main, domain) and the reason, as `certedge explain` gives it.",
        ("certificate", "reason"),
    ),
    Family(
        "certedge_requests_total",
        Kind.COUNTER,
        "HTTP requests by site and class of the status; the busiest sites first seen have a label each.",
        ("site", "code"),
    ),
    Family("certedge_upstream_seconds", Kind.HISTOGRAM, "From a request's head to its response's, upstream included."),
    Family("certedge_body_bytes_total", Kind.COUNTER, "Bytes of HTTP bodies and tunnels.", ("direction",)),
    Family(
        "certedge_upstream_connections",
        Kind.GAUGE,
        "Connections to web servers: idle in the pool, active with a request.",
        ("upstream", "state"),
    ),
    Family("certedge_events_total", Kind.COUNTER, "Refused inputs and other events by cause.", ("cause",)),
    Family("certedge_snapshot_sites", Kind.GAUGE, "Sites that workers serve.", is_greatest=True),
    Family(
        "certedge_snapshot_age_seconds",
        Kind.GAUGE,
        "Since the worker that is furthest behind last looked at the store without a fault.",
        is_greatest=True,
    ),
    Family("certedge_workers", Kind.GAUGE, "Workers that serve."),
    Family("certedge_certificate_remaining_seconds", Kind.GAUGE, "Validity left; negative once expired.", ("site",)),
    Family("certedge_certificates", Kind.GAUGE, "Sites by the state of their certificate.", ("state",)),
    Family("certedge_last_attempts", Kind.GAUGE, "Sites by what their last attempt was and how it ended.",
           ("doing", "outcome")),
    Family("certedge_last_attempt_timestamp_seconds", Kind.GAUGE,
           "When a site's certificate was last taken in, ordered or renewed, and how that ended.",
           ("site", "doing", "outcome")),
    Family("certedge_site_problems", Kind.GAUGE, "Sites with a problem, by its code.", ("code",)),
)  # fmt: skip

FAMILIES: Mapping[str, Family] = {family.name: family for family in _TABLE}


@dataclass(frozen=True, slots=True)
class Sample:
    """One value. Of a histogram `counts` are those of each bucket alone, one more than bounds, and `value` the sum."""

    name: str
    labels: tuple[str, ...]
    value: float
    counts: tuple[int, ...] = ()

    def to_json(self) -> list[Any]:
        return [self.name, self.labels, self.value, self.counts]

    @classmethod
    def from_json(cls, line: Sequence[Any]) -> Sample:
        """Raises KeyError, TypeError or ValueError for anything else."""
        name, labels, value, counts = line
        family = FAMILIES[name]
        if len(labels) != len(family.labels) or bool(counts) is not (family.kind is Kind.HISTOGRAM):
            raise ValueError(f"{name}: labels or counts do not fit")
        if counts and len(counts) != len(LATENCY_BOUNDS) + 1:
            raise ValueError(f"{name}: {len(counts)} buckets")
        return cls(name, tuple(map(str, labels)), float(value), tuple(map(int, counts)))


def lasting(samples: Iterable[Sample]) -> list[Sample]:
    """The samples that stay true when their worker has ended: counts, not states."""
    return [each for each in samples if FAMILIES[each.name].kind is not Kind.GAUGE]


def add_up(samples: Iterable[Sample]) -> list[Sample]:
    """One sample per name and labels."""
    sums: dict[tuple[str, tuple[str, ...]], Sample] = {}
    for each in samples:
        key = (each.name, each.labels)
        before = sums.get(key)
        sums[key] = each if before is None else _together(before, each)
    return list(sums.values())


def bound_sites(samples: Iterable[Sample], most: int) -> list[Sample]:
    """At most `most` sites keep their own label; all others share one."""
    shown: set[str] = {OTHER_SITES}
    bounded = []
    for each in samples:
        if FAMILIES[each.name].labels[:1] == ("site",) and each.labels[0] not in shown:
            if len(shown) > most:
                each = Sample(each.name, (OTHER_SITES, *each.labels[1:]), each.value, each.counts)
            else:
                shown.add(each.labels[0])
        bounded.append(each)
    return add_up(bounded)


def exposition(samples: Iterable[Sample]) -> bytes:
    """The page, families in the order of the table, samples of a family by their labels."""
    by_family: dict[str, list[Sample]] = {name: [] for name in FAMILIES}
    for each in samples:
        by_family[each.name].append(each)
    lines: list[str] = []
    for name, members in by_family.items():
        if members:
            family = FAMILIES[name]
            lines += (f"# HELP {name} {family.help}", f"# TYPE {name} {family.kind}")
            for each in sorted(members, key=lambda sample: sample.labels):
                lines += _histogram_lines(each) if each.counts else [_line(name, family.labels, each)]
    return "\n".join((*lines, "")).encode()


def _together(one: Sample, other: Sample) -> Sample:
    if FAMILIES[one.name].is_greatest:
        return max(one, other, key=lambda sample: sample.value)
    counts = tuple(map(sum, zip(one.counts, other.counts, strict=True)))
    return Sample(one.name, one.labels, one.value + other.value, counts)


def _line(name: str, labels: Sequence[str], sample: Sample) -> str:
    return f"{name}{_labels(labels, sample.labels)} {_number(sample.value)}"


def _histogram_lines(sample: Sample) -> list[str]:
    lines, total = [], 0
    for bound, count in zip((*map(_number, LATENCY_BOUNDS), "+Inf"), sample.counts, strict=True):
        total += count
        lines.append(f'{sample.name}_bucket{{le="{bound}"}} {total}')
    return [*lines, f"{sample.name}_sum {_number(sample.value)}", f"{sample.name}_count {total}"]


def _labels(names: Sequence[str], values: Sequence[str]) -> str:
    if not names:
        return ""
    pairs = (f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True))
    return f"{{{','.join(pairs)}}}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
