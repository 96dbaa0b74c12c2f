"""Each measurement once, at a tiny size, with the edge and nginx: it yields figures, and they are plausible."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.bench import TINY, Bench
from tests.bench.figures import (
    DROP,
    EDGE,
    HANDSHAKE,
    HANDSHAKE_GET,
    HTTP2,
    IDLE,
    KEEP_ALIVE,
    LARGE,
    LINES,
    LOST,
    MEGABYTE,
    RANDOM_NAMES,
    RESUMED,
    RESUMED_GET,
    SITE_MEMORY,
    SPEEDUP_HANDSHAKE,
    SPEEDUP_KEEP_ALIVE,
    START,
    Results,
)
from tests.bench.material import SiteFiles
from tests.bench.measurements import MEASUREMENTS
from tests.bench.peers import all_peers
from tests.bench.programs import PACKAGES
from tests.bench.report import Circumstances, as_json, as_text
from tests.bench.upstream import Upstream
from tests.peers import require_peer

PEERS = (EDGE, "nginx")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    for program in ("nginx", "openssl", "wrk", "h2load"):
        require_peer(program)
    with Upstream(tmp_path / "upstream") as upstream:
        peers = [peer for peer in all_peers(tmp_path) if peer.name in PEERS]
        yield Bench(tmp_path, TINY, SiteFiles(tmp_path), upstream.port, peers)


@pytest.mark.peer
@pytest.mark.parametrize(
    ("measurement", "figures"),
    [
        ("handshakes", (HANDSHAKE, HANDSHAKE_GET, RESUMED, RESUMED_GET)),
        ("requests", (KEEP_ALIVE, HTTP2)),
        ("bodies", (MEGABYTE, LARGE)),
        ("lines", tuple(figure.over_line(20) for figure in LINES)),
    ],
)
def test_a_measurement_gives_a_figure_for_every_server(bench: Bench, measurement: str, figures: tuple) -> None:  # type: ignore[type-arg]
    MEASUREMENTS[measurement](bench)

    found = {(figure.key, peer): bench.results.median(figure, peer) for figure in figures for peer in PEERS}
    assert all(value is not None and value > 0 for value in found.values()), found


@pytest.mark.peer
def test_a_second_worker_is_compared_with_one(bench: Bench) -> None:
    bench.peers = [peer for peer in bench.peers if peer.name == EDGE]

    MEASUREMENTS["scaling"](bench)

    for figure in (SPEEDUP_HANDSHAKE, SPEEDUP_KEEP_ALIVE):
        speedup = bench.results.median(figure, EDGE)
        assert speedup is not None
        assert 0.1 < speedup < 10  # with a load this short, other work on the machine decides half of it


@pytest.mark.peer
def test_idle_connections_are_held_and_their_memory_measured(bench: Bench) -> None:
    MEASUREMENTS["idle"](bench)

    (count,) = TINY.idle_connections
    for peer in PEERS:
        found = bench.results.found(IDLE.at(count), peer)
        assert len(found.values) == 1
        assert not found.note, "every connection was answered once more"


@pytest.mark.peer
def test_stores_are_started_measured_and_one_certificate_replaced(bench: Bench) -> None:
    MEASUREMENTS["stores"](bench)

    results, (small, large) = bench.results, TINY.stores
    for peer in PEERS:
        assert results.median(START.at(small), peer)
        assert results.median(SITE_MEMORY.at(large), peer) is not None
        random_names = results.found(RANDOM_NAMES.at(large), peer)
        assert random_names.values
        assert not random_names.note, "each name got its own certificate"
        assert results.median(DROP.at(large), peer)
    assert results.found(DROP.at(large), EDGE).note == ""
    assert results.median(LOST.at(large), EDGE) == 0
    assert "not seen" in results.found(DROP.at(large), "nginx").note
    assert results.median(LOST.at(large), "nginx") == TINY.held_connections, "a reload ends kept connections"


@pytest.mark.peer
def test_a_missing_server_is_named_and_the_others_are_measured(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    (nginx,) = [peer for peer in bench.peers if peer.name == "nginx"]
    monkeypatch.setattr(nginx, "program", "no-such-nginx", raising=True)
    monkeypatch.setitem(PACKAGES, "no-such-nginx", "apt install nginx")
    reduced = Bench(bench.root, TINY, bench.sites, bench.upstream_port, bench.peers)

    assert [peer.name for peer in reduced.peers] == [EDGE]
    assert reduced.missing == {"nginx": "no-such-nginx is missing (apt install nginx)"}


def test_a_report_holds_what_was_found_and_what_is_missing() -> None:
    bench_results = Results()
    for value in (600.0, 610.0, 640.0):
        bench_results.add(HANDSHAKE, EDGE, value)
    bench_results.add(HANDSHAKE, "nginx", 400.0)
    bench_results.note(HANDSHAKE, "mitmdump", "failed")
    circumstances = Circumstances("2026-01-01", "tiny", "2 cores", 0.1, {"nginx": "1.22"}, {"Envoy": "not here"})

    text = as_text(bench_results, circumstances, [EDGE, "nginx", "mitmdump"])
    facts = json.loads(json.dumps(as_json(bench_results, circumstances)))

    assert "610 ±3%" in text
    assert "failed" in text
    assert "Envoy: not here" in text
    assert "1.52 ×" in text
    assert "MISSED" in text
    assert facts["figures"][0]["found"][EDGE] == {"median": 610.0, "values": [600.0, 610.0, 640.0], "note": ""}
