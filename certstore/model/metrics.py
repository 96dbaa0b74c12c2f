"""What is measured, under which names, and how the counts of several processes are added up.

Pure. Workers count in plain numbers and report them now and then; the control process adds the reports up. A family
defines how the values of several workers are combined.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

LATENCY_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of the buckets of upstream latency, in seconds; one more bucket holds everything slower."""

OTHER_SITES = "other"
"""The label that all sites beyond the limit share."""


class Kind(StrEnum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Family:
    """One metric. With `is_greatest`, the greatest of the workers' values counts, not their sum."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    is_greatest: bool = False


_TABLE = (
    Family("certedge_connections_total", Kind.COUNTER, "Accepted client connections.", ("listener",)),
    Family("certedge_connections_open", Kind.GAUGE, "Open client connections.", ("listener",)),
    Family(
        "certedge_handshakes_total",
        Kind.COUNTER,
        "TLS handshakes; version is empty if none was negotiated, outcome is done or the reason of the failure.",
        ("listener", "version", "outcome"),
    ),
    Family(
        "certedge_certificates_chosen_total",
        Kind.COUNTER,
        "Handshakes by certificate served (main, domain) and the reason, as in `certedge explain`.",
        ("certificate", "reason"),
    ),
    Family(
        "certedge_requests_total",
        Kind.COUNTER,
        "HTTP requests by site and status class; sites beyond the limit share one label.",
        ("site", "code"),
    ),
    Family("certedge_upstream_seconds", Kind.HISTOGRAM, "From request head to response head, upstream included."),
    Family("certedge_body_bytes_total", Kind.COUNTER, "Bytes of HTTP bodies and tunnels.", ("direction",)),
    Family(
        "certedge_upstream_connections",
        Kind.GAUGE,
        "Connections to web servers: idle in the pool, active with a request.",
        ("upstream", "state"),
    ),
    Family(
        "certedge_upstream_down",
        Kind.GAUGE,
        "1 for a web or mail server that can't be reached or fails its health check.",
        ("kind", "upstream"),
        is_greatest=True,
    ),
    Family("certedge_events_total", Kind.COUNTER, "Refused inputs and other events, by cause.", ("cause",)),
    Family(
        "certedge_unloadable_certificates",
        Kind.GAUGE,
        "Live certificates that a worker can't load; other versions are served in their place.",
        is_greatest=True,
    ),
    Family("certedge_snapshot_sites", Kind.GAUGE, "Sites that the workers serve.", is_greatest=True),
    Family(
        "certedge_snapshot_age_seconds",
        Kind.GAUGE,
        "Time since the slowest worker last read the store successfully.",
        is_greatest=True,
    ),
    Family("certedge_workers", Kind.GAUGE, "Running workers."),
    Family("certedge_certificate_remaining_seconds", Kind.GAUGE, "Validity left; negative after expiry.", ("site",)),
    Family("certedge_certificate_lifetime_seconds", Kind.GAUGE, "The whole span of its validity.", ("site",)),
    Family("certedge_certificates", Kind.GAUGE, "Sites by the state of their certificate.", ("state",)),
    Family("certedge_last_attempts", Kind.GAUGE, "Sites by their last attempt and its outcome.",
           ("doing", "outcome")),
    Family("certedge_last_attempt_timestamp_seconds", Kind.GAUGE,
           "When a site's certificate was last installed, ordered or renewed, and with which outcome.",
           ("site", "doing", "outcome")),
    Family("certedge_warnings", Kind.GAUGE,
           "Sites with a problem that warnings are sent about, by kind; each stands until it is solved.", ("kind",)),
    Family("certedge_service_problems", Kind.GAUGE, "Problems of the service itself, by code.", ("code",)),
    Family("certedge_site_problems", Kind.GAUGE, "Sites with a problem, by problem code.", ("code",)),
    Family("certedge_cluster_attached", Kind.GAUGE, "1 while this node reaches the engine of its cluster, else 0."),
    Family("certedge_cluster_nodes", Kind.GAUGE, "Nodes of the cluster, by how they stand.", ("state",)),
    Family("certedge_cluster_behind", Kind.GAUGE, "Sites changed on other nodes that are not served here yet."),
    Family("certedge_cluster_unpublished", Kind.GAUGE, "Sites changed here that the other nodes do not have yet."),
    Family("certedge_cluster_caretaker", Kind.GAUGE, "1 on the node that renews and sends mail, else 0."),
    Family("certedge_cluster_adoption_seconds", Kind.GAUGE,
           "From the arrival of the last change of another node until it was served here."),
    Family("certedge_cluster_refused_records_total", Kind.COUNTER, "Records that did not count, by reason.", ("why",)),
    Family("certedge_cluster_conflicts_total", Kind.COUNTER, "Changes here that met a change on another node."),
    Family("certedge_cluster_engine_db_bytes", Kind.GAUGE, "Size of the engine's database."),
)  # fmt: skip

FAMILIES: Mapping[str, Family] = {family.name: family for family in _TABLE}


@dataclass(frozen=True, slots=True)
class Sample:
    """One value. For a histogram, `counts` holds the count of each bucket, and `value` is the sum."""

    name: str
    labels: tuple[str, ...]
    value: float
    counts: tuple[int, ...] = ()

    def to_json(self) -> list[Any]:
        return [self.name, self.labels, self.value, self.counts]

    @classmethod
    def from_json(cls, line: Sequence[Any]) -> Sample:
        """Raises KeyError, TypeError or ValueError for anything but a sample of a known family."""
        name, labels, value, counts = line
        family = FAMILIES[name]
        if len(labels) != len(family.labels) or bool(counts) is not (family.kind is Kind.HISTOGRAM):
            raise ValueError(f"{name}: labels or counts do not fit")
        if counts and len(counts) != len(LATENCY_BOUNDS) + 1:
            raise ValueError(f"{name}: {len(counts)} buckets")
        return cls(name, tuple(map(str, labels)), float(value), tuple(map(int, counts)))


def lasting(samples: Iterable[Sample]) -> list[Sample]:
    """The samples that outlive their worker: counts, not states."""
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
    """Let at most `most` sites keep their own label; all others share one."""
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


def _together(one: Sample, other: Sample) -> Sample:
    if FAMILIES[one.name].is_greatest:
        return max(one, other, key=lambda sample: sample.value)
    counts = tuple(map(sum, zip(one.counts, other.counts, strict=True)))
    return Sample(one.name, one.labels, one.value + other.value, counts)
