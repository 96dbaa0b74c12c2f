"""A real nginx behind the edge: bodies up and down, keep-alive, its own idle limit, curl in front."""

import asyncio
import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deadlines import wait_for_in_loop
from tests.edge_addon.relay.edge import relay_edge
from tests.loops import in_loop
from tests.peers import require_peer
from tests.peers.nginx import Nginx

pytestmark = pytest.mark.peer


@pytest.fixture
def nginx() -> Iterator[Nginx]:
    with Nginx() as running:
        yield running


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def random_file(path: Path, size: int) -> Path:
    with path.open("wb") as file:
        for _ in range(size >> 20):
            file.write(os.urandom(1 << 20))
        file.write(os.urandom(size % (1 << 20)))
    return path


async def curl(*arguments: str) -> str:
    """Return curl's standard output; fails if curl fails."""
    program = str(require_peer("curl"))
    result = await asyncio.to_thread(
        subprocess.run, [program, "-sS", "--fail", "--max-time", "100", *arguments], capture_output=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.decode()


@pytest.mark.parametrize("version", ["--http1.0", "--http1.1"])
@pytest.mark.parametrize("socket", ["url", "unix_url"])
@in_loop
async def test_file_goes_up_and_comes_down_unchanged(socket: str, version: str, nginx: Nginx, tmp_path: Path) -> None:
    sent = random_file(tmp_path / "sent", 20_000_003)
    async with relay_edge(tmp_path, getattr(nginx, socket)) as edge:
        url = f"http://127.0.0.1:{edge.port}/files/a/file"
        await curl(version, "-T", str(sent), url)
        assert digest(nginx.root / "a" / "file") == digest(sent)
        await curl(version, "-o", str(tmp_path / "got"), url)
        assert digest(tmp_path / "got") == digest(sent)


@in_loop
async def test_chunked_bodies_go_up_and_come_down_unchanged(nginx: Nginx, tmp_path: Path) -> None:
    sent = tmp_path / "sent.txt"
    sent.write_bytes(os.urandom(3_000_000).hex().encode())
    async with relay_edge(tmp_path, nginx.url) as edge:
        url = f"http://127.0.0.1:{edge.port}"
        await curl("-T", str(sent), "-H", "Transfer-Encoding: chunked", f"{url}/files/sent.txt")
        assert digest(nginx.root / "sent.txt") == digest(sent)
        await curl("--compressed", "-o", str(tmp_path / "got"), f"{url}/chunked/sent.txt")
        assert digest(tmp_path / "got") == digest(sent)


@in_loop
async def test_expect_100_is_answered_through_the_edge(nginx: Nginx, tmp_path: Path) -> None:
    sent = random_file(tmp_path / "sent", 2_000_000)
    async with relay_edge(tmp_path, nginx.url) as edge:
        url = f"http://127.0.0.1:{edge.port}/files/sent"
        # Longer than the test may take: without a 100 from the upstream, curl would wait this long before sending.
        expect = ("-H", "Expect: 100-continue", "--expect100-timeout", "99")
        code = await curl(*expect, "-T", str(sent), "-o", os.devnull, "-w", "%{http_code}", url)
        assert code == "201"
        assert digest(nginx.root / "sent") == digest(sent)


@in_loop
async def test_requests_share_a_connection_to_nginx(nginx: Nginx, tmp_path: Path) -> None:
    async with relay_edge(tmp_path, nginx.url) as edge:
        for _ in range(10):
            await curl(f"http://127.0.0.1:{edge.port}/echo")
        accesses = nginx.accesses()
        assert [each[1] for each in accesses] == [str(number) for number in range(1, 11)]
        assert len({each[0] for each in accesses}) == 1


@in_loop
async def test_connection_that_nginx_gave_up_is_replaced_unnoticed(tmp_path: Path) -> None:
    with Nginx(keepalive_seconds=1) as nginx:
        async with relay_edge(tmp_path, nginx.url) as edge:
            (server,) = edge.plane.upstream_pool("main").servers
            for _ in range(3):
                await curl(f"http://127.0.0.1:{edge.port}/echo")
                await wait_for_in_loop(lambda: not server.idle, "the end of the idle connection")
            assert not edge.plane.counters
            assert len({each[0] for each in nginx.accesses()}) == 3


@in_loop
async def test_nginx_sees_who_the_client_is(nginx: Nginx, tmp_path: Path) -> None:
    async with relay_edge(tmp_path, nginx.url) as edge:
        got = await curl("-H", "X-Forwarded-For: 10.9.9.9", f"http://127.0.0.1:{edge.port}/echo")
        host = f"127.0.0.1:{edge.port}"
        assert got.strip() == f'127.0.0.1|http|{host}|for=127.0.0.1;host="{host}";proto=http'


@in_loop
async def test_body_that_nginx_refuses_gets_its_413(tmp_path: Path) -> None:
    sent = random_file(tmp_path / "sent", 20_000_000)
    with Nginx(max_body="1m") as nginx:
        async with relay_edge(tmp_path, nginx.url) as edge:
            url = f"http://127.0.0.1:{edge.port}/files/x"
            for expect in ("Expect:", "Expect: 100-continue"):
                upload = ("-s", "-o", os.devnull, "-w", "%{http_code}", "-H", expect, "-T", str(sent), url)
                result = await asyncio.to_thread(
                    subprocess.run, [str(require_peer("curl")), *upload], capture_output=True, check=False
                )
                assert result.stdout == b"413", result.stderr
