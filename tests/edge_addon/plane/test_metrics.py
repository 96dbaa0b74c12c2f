"""The counters of one worker."""

from edge_addon.plane.metrics import SITES, Metrics


def test_sites_beyond_the_bound_share_a_label() -> None:
    metrics = Metrics()
    for number in range(SITES + 50):
        metrics.request(f"{number}.test", 200, -1.0, 0, 0)
    metrics.request("0.test", 999, -1.0, 0, 0)  # a status that an upstream invents
    assert len(metrics.requests) == SITES
    assert sum(metrics.other_sites) == 50
