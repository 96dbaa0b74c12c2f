"""Active health checks of upstreams."""

import threading
from pathlib import Path

import pytest

from edge_addon.upstream import health_check
from tests.deadlines import wait_for_in_loop
from tests.edge_addon.relay.edge import Edge, relay_edge
from tests.loops import in_loop
from tests.peers.recorder import Connection, Recorder, answering, ok, silent

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"


async def get(edge: Edge, request: bytes = GET) -> bytes:
    return await edge.send(request, end=True)


@in_loop
async def test_server_that_fails_its_health_check_gets_no_requests_until_it_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health_check, "HEALTH_SECONDS", 0.05)
    is_healthy = threading.Event()

    async def handle(connection: Connection) -> None:
        while True:
            head = await connection.read_head()
            is_check = head.startswith(b"GET /health HTTP/1.1\r\n")
            status = b"503 Sick" if is_check and not is_healthy.is_set() else b"200 OK"
            await connection.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 5\r\n\r\nfirst")

    with Recorder(handle) as first, Recorder(answering(ok(b"second"))) as second:
        async with relay_edge(tmp_path, [{"url": first.url, "health": "/health"}, second.url]) as edge:
            pool = edge.plane.upstream_pool("main")
            await wait_for_in_loop(lambda: pool.servers[0].is_unhealthy, "a failed check")
            for _ in range(3):
                assert (await get(edge)).endswith(b"second")
            is_healthy.set()
            await wait_for_in_loop(lambda: not pool.servers[0].is_unhealthy, "a good check")
            assert (await get(edge)).endswith(b"first")


@in_loop
async def test_server_that_does_not_answer_its_health_check_is_unhealthy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health_check, "HEALTH_SECONDS", 0.05)
    missing = {"url": f"unix:{tmp_path / 'missing'}", "health": "/"}
    with Recorder(silent) as mute, Recorder(answering(ok(b"healthy"))) as healthy:
        async with relay_edge(tmp_path, [{"url": mute.url, "health": "/"}, missing, healthy.url]) as edge:
            pool = edge.plane.upstream_pool("main")
            await wait_for_in_loop(
                lambda: [server.is_unhealthy for server in pool.servers] == [True, True, False], "two failed checks"
            )
            assert (await get(edge)).endswith(b"healthy")
            await wait_for_in_loop(
                lambda: all(each.is_over for each in mute.connections[:-1]), "the end of every check"
            )
