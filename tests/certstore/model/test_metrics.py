"""How the counts of several workers are combined, kept and limited."""

import pytest

from certstore.model.metrics import LATENCY_BOUNDS, Sample, add_up, bound_sites, lasting

REQUESTS = "certedge_requests_total"
LATENCY = "certedge_upstream_seconds"
BUCKETS = len(LATENCY_BOUNDS) + 1


def histogram(*counts: int, total: float = 1.5) -> Sample:
    return Sample(LATENCY, (), total, tuple([*counts] + [0] * (BUCKETS - len(counts))))


def test_counts_of_workers_are_summed_and_the_greatest_age_stays() -> None:
    age = "certedge_snapshot_age_seconds"
    both = add_up(
        [
            Sample(REQUESTS, ("a.test", "2xx"), 2),
            Sample(age, (), 0.5),
            histogram(1, total=0.25),
            Sample(REQUESTS, ("a.test", "2xx"), 3),
            Sample(REQUESTS, ("a.test", "5xx"), 1),
            Sample(age, (), 7.0),
            histogram(0, 2, total=0.5),
        ]
    )
    assert sorted(both, key=lambda sample: (sample.name, sample.labels)) == [
        Sample(REQUESTS, ("a.test", "2xx"), 5),
        Sample(REQUESTS, ("a.test", "5xx"), 1),
        Sample(age, (), 7.0),
        histogram(1, 2, total=0.75),
    ]


def test_only_counts_outlive_their_worker() -> None:
    samples = [Sample(REQUESTS, ("a.test", "2xx"), 2), Sample("certedge_workers", (), 1), histogram(1)]
    assert lasting(samples) == [samples[0], samples[2]]


def test_sites_beyond_the_bound_are_one() -> None:
    samples = [Sample(REQUESTS, (f"{number}.test", "2xx"), 1) for number in range(10)]
    samples.append(Sample(REQUESTS, ("9.test", "4xx"), 1))
    bounded = {sample.labels: sample.value for sample in bound_sites(samples, 3)}
    assert bounded == {
        ("0.test", "2xx"): 1,
        ("1.test", "2xx"): 1,
        ("2.test", "2xx"): 1,
        ("other", "2xx"): 7,
        ("other", "4xx"): 1,
    }


def test_a_sample_survives_json() -> None:
    for sample in (Sample(REQUESTS, ("a.test", "2xx"), 2), histogram(1, 2)):
        assert Sample.from_json(sample.to_json()) == sample


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(["certedge_nothing", [], 1, []], id="unknown name"),
        pytest.param([REQUESTS, ["a.test"], 1, []], id="a label is missing"),
        pytest.param([REQUESTS, ["a.test", "2xx"], "many", []], id="no number"),
        pytest.param([REQUESTS, ["a.test", "2xx"], 1, [1]], id="buckets of a counter"),
        pytest.param([LATENCY, [], 1, []], id="no buckets"),
        pytest.param([LATENCY, [], 1, [1, 2]], id="too few buckets"),
        pytest.param([REQUESTS], id="half a line"),
        pytest.param(None, id="nothing"),
    ],
)
def test_what_is_no_sample_is_refused(line: list[object]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        Sample.from_json(line)
