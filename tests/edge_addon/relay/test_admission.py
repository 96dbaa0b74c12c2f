"""What the edge answers itself and where other requests go: challenges, redirects, 421, sites, origin headers, HSTS."""

import os
from pathlib import Path

import pytest

from certstore.model.settings.models import Settings
from edge_addon.relay.admission import https_port
from tests.edge_addon.relay.edge import MAIN_HOST, Edge, entry, relay_edge
from tests.loops import in_loop
from tests.peers.recorder import Recorder, answering, ok

TOKEN = "a" * 43
REDIRECTING = {"redirect_to_https": True}


def request(host: str, target: str = "/", method: str = "GET", *fields: str) -> bytes:
    return "\r\n".join((f"{method} {target} HTTP/1.1", f"Host: {host}", *fields, "", "")).encode()


def put_challenge(edge: Edge, token: str = TOKEN) -> bytes:
    folder = edge.plane.layout.challenges
    folder.mkdir(parents=True, exist_ok=True)
    content = f"{token}.thumbprint".encode()
    (folder / token).write_bytes(content)
    return content


@pytest.mark.parametrize("kind", ["http", "https"])
@in_loop
async def test_challenge_is_answered_before_anything_else(kind: str, tmp_path: Path) -> None:
    with Recorder(answering(ok())) as recorder:
        async with relay_edge(tmp_path, recorder.url, kind=kind, http=REDIRECTING) as edge:
            content = put_challenge(edge)
            name = MAIN_HOST if kind == "https" else None
            ask = request("any.test", f"/.well-known/acme-challenge/{TOKEN}", "GET", "Connection: close")
            got = await edge.send(ask, server_name=name)
            assert got.startswith(b"HTTP/1.1 200 OK\r\n")
            assert b"\r\nContent-Type: application/octet-stream\r\n" in got
            assert got.endswith(b"\r\n\r\n" + content)
            got = await edge.send(ask.replace(b"GET", b"HEAD"), server_name=name)
            assert b"\r\nContent-Length: %d\r\n" % len(content) in got
            assert got.endswith(b"\r\n\r\n")
        assert recorder.received == b""


@in_loop
async def test_pipe_or_link_among_the_challenges_blocks_nobody_and_gives_nothing_away(tmp_path: Path) -> None:
    with Recorder(answering(ok())) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            folder = edge.plane.layout.challenges
            folder.mkdir(parents=True)
            secret = tmp_path / "secret"
            secret.write_text("secret")
            os.mkfifo(folder / ("p" * 43))
            (folder / ("l" * 43)).symlink_to(secret)
            for token in ("p" * 43, "l" * 43):
                got = await edge.send(request("a.test", f"/.well-known/acme-challenge/{token}"), end=True)
                assert got.startswith(b"HTTP/1.1 404 ")
                assert b"secret" not in got


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/.well-known/acme-challenge/" + "b" * 43),
        ("GET", "/.well-known/acme-challenge/short"),
        ("GET", "/.well-known/acme-challenge/"),
        ("GET", "/.well-known/acme-challenge/../../etc/passwd"),
        ("GET", "/.well-known/acme-challenge/" + "c" * 30 + "%00"),
        ("POST", "/.well-known/acme-challenge/" + TOKEN),
    ],
)
@in_loop
async def test_other_challenge_paths_get_404_and_nothing_is_reflected(method: str, target: str, tmp_path: Path) -> None:
    with Recorder(answering(ok())) as recorder:
        async with relay_edge(tmp_path, recorder.url, http=REDIRECTING) as edge:
            put_challenge(edge)
            got = await edge.send(request("a.test", target, method), end=True)
            assert got.startswith(b"HTTP/1.1 404 ")
            assert target.rpartition("/")[2].encode() not in got or target.endswith("/")
        assert recorder.received == b""


@in_loop
async def test_unknown_challenge_goes_to_the_upstream_if_configured(tmp_path: Path) -> None:
    with Recorder(answering(ok(b"certbot's"))) as recorder:
        http = {"unknown_challenge": "upstream"}
        async with relay_edge(tmp_path, recorder.url, http=http) as edge:
            content = put_challenge(edge)
            path = "/.well-known/acme-challenge/"
            assert (await edge.send(request("a.test", path + TOKEN), end=True)).endswith(content)
            assert (await edge.send(request("a.test", path + "b" * 43), end=True)).endswith(b"certbot's")
            assert (await edge.send(request("a.test", "/other"), end=True)).startswith(b"HTTP/1.1 301 ")
            for method, name in (
                ("POST", "b" * 43),
                ("CONNECT", "b" * 43),
                ("GET", "../../admin"),
                ("GET", "%2e%2e/x"),
            ):
                got = await edge.send(request("a.test", path + name, method), end=True)
                assert got.startswith(b"HTTP/1.1 404 ")
        assert recorder.received.count(b"HTTP/1.1\r\n") == 1


@pytest.mark.parametrize(
    ("method", "host", "target", "status", "location"),
    [
        ("GET", "a.test", "/x?y=z", 301, "https://a.test:8443/x?y=z"),
        ("HEAD", "a.test", "/", 301, "https://a.test:8443/"),
        ("POST", "a.test", "/form", 308, "https://a.test:8443/form"),
        ("GET", "A.Test:80", "/", 301, "https://A.Test:8443/"),
        ("GET", "[::1]:80", "/", 301, "https://[::1]:8443/"),
        ("GET", "unknown.test", "//evil.test/", 301, "https://unknown.test:8443//evil.test/"),
        ("OPTIONS", "a.test", "*", 308, "https://a.test:8443/"),
        ("GET", "a.test", "http://a.test/x", 301, "https://a.test:8443/x"),
    ],
)
@in_loop
async def test_clear_text_is_redirected_to_the_requested_host(
    method: str, host: str, target: str, status: int, location: str, tmp_path: Path
) -> None:
    listeners = [{"kind": "https", "listen": "127.0.0.1:8443"}]
    with Recorder(answering(ok())) as recorder:
        async with relay_edge(tmp_path, recorder.url, http=REDIRECTING, listeners=listeners) as edge:
            got = await edge.send(request(host, target, method), end=True)
            assert got.startswith(b"HTTP/1.1 %d " % status)
            assert f"\r\nLocation: {location}\r\n".encode() in got
        assert recorder.received == b""


@in_loop
async def test_invalid_host_is_not_redirected(tmp_path: Path) -> None:
    async with relay_edge(tmp_path, "http://127.0.0.1:1", http=REDIRECTING) as edge:
        for host in ("a.test/@evil.test", "a.test\\evil", "<script>", "a.test?x"):
            assert (await edge.send(request(host))).startswith(b"HTTP/1.1 400 ")
        got = await edge.send(b"GET /x HTTP/1.0\r\n\r\n")
        assert f"\r\nLocation: https://{MAIN_HOST}/x\r\n".encode() in got, "the main host when there is none"


@pytest.mark.parametrize(
    ("ports", "port"), [([443], 443), ([8443], 8443), ([8443, 443], 443), ([8443, 9443], 8443), ([0], 443), ([], 443)]
)
def test_redirect_goes_to_the_port_of_the_https_listener(ports: list[int], port: int) -> None:
    listeners = [{"kind": "http", "listen": "127.0.0.1:80"}]
    listeners += [{"kind": "https", "listen": f"127.0.0.{position}:{each}"} for position, each in enumerate(ports, 1)]
    assert https_port(Settings.model_validate({"listeners": listeners})) == port


@in_loop
async def test_trusted_proxy_that_ended_tls_itself_is_not_redirected(tmp_path: Path) -> None:
    ask = request("a.test", "/", "GET", "X-Forwarded-Proto: https")
    with Recorder(answering(ok())) as recorder:
        async with relay_edge(tmp_path, recorder.url, http=REDIRECTING) as edge:
            assert (await edge.send(ask, end=True)).startswith(b"HTTP/1.1 301 ")
        async with relay_edge(tmp_path, recorder.url, http=REDIRECTING, trusted_proxies=["127.0.0.0/8"]) as edge:
            assert (await edge.send(ask, end=True)).endswith(b"ok")
        assert b"\r\nX-Forwarded-Proto: https\r\n" in recorder.received


CLAIMS = (
    "X-Forwarded-For: 10.1.1.1",
    "X-Forwarded-For: 10.2.2.2",
    "X-Forwarded-Proto: HTTPS",
    "X-Forwarded-Host: outer.test",
    "X-Forwarded-Port: 444",
    "X-Real-IP: 10.1.1.1",
    'Forwarded: for="[2001:db8::1]"',
    "X-Forwarded-Ssl: on",
    "X_Forwarded_For: 10.3.3.3",
)


@in_loop
async def test_origin_headers_are_ours_and_a_clients_own_are_dropped(tmp_path: Path) -> None:
    with Recorder(answering(ok())) as recorder:
        async with relay_edge(tmp_path, recorder.url, trusted_proxies=["192.0.2.0/24"]) as edge:
            await edge.send(request("a.test:81", "/", "GET", *CLAIMS), end=True)
        lines = recorder.received.split(b"\r\n")
        assert lines == [
            b"GET / HTTP/1.1",
            b"Host: a.test:81",
            b"X-Forwarded-For: 127.0.0.1",
            b"X-Forwarded-Proto: http",
            b"X-Forwarded-Host: a.test:81",
            b"X-Forwarded-Port: %d" % edge.port,
            b"X-Real-IP: 127.0.0.1",
            b'Forwarded: for=127.0.0.1;host="a.test:81";proto=http',
            b"",
            b"",
        ]


@in_loop
async def test_claims_of_a_trusted_proxy_are_kept_and_ours_appended(tmp_path: Path) -> None:
    with Recorder(answering(ok())) as recorder:
        async with relay_edge(tmp_path, recorder.url, trusted_proxies=["127.0.0.1"]) as edge:
            await edge.send(request("a.test", "/", "GET", *CLAIMS), end=True)
        lines = recorder.received.split(b"\r\n")
        assert lines[2:8] == [
            b"X-Forwarded-For: 10.1.1.1, 10.2.2.2, 127.0.0.1",
            b"X-Forwarded-Proto: https",
            b"X-Forwarded-Host: outer.test",
            b"X-Forwarded-Port: 444",
            b"X-Real-IP: 10.1.1.1",
            b'Forwarded: for="[2001:db8::1]", for=127.0.0.1;host=a.test;proto=http',
        ]


@in_loop
async def test_each_host_goes_to_its_sites_servers_on_one_connection(tmp_path: Path) -> None:
    with Recorder(answering(ok(b"main"))) as main, Recorder(answering(ok(b"site"))) as site:
        sites = [entry("a.test", "a.test", "*.a.test", upstream=site.url)]
        async with relay_edge(tmp_path, main.url, sites=sites) as edge:
            for host, body in {
                "a.test": b"site", "A.TEST": b"site", "a.test:8080": b"site", "a.test.": b"site", "x.a.test": b"site",
                "x.y.a.test": b"main", "b.test": b"main", MAIN_HOST: b"main", "127.0.0.1": b"main", "[::1]": b"main",
            }.items():  # fmt: skip
                assert (await edge.send(request(host), end=True)).endswith(b"\r\n\r\n" + body), host
            both = request("a.test") + request("b.test") + request("a.test")
            assert (await edge.send(both, end=True)).count(b"\r\n\r\nsite") == 2
            assert not edge.plane.counters


SITES = [
    entry("a.test", "a.test", "www.a.test", "*.w.test"),
    entry("b.test", "b.test"),
    entry("c.test", "c.test", has_certificate=False),
]


@pytest.mark.parametrize(
    ("server_name", "host", "status"),
    [
        ("a.test", "a.test", 200),
        ("a.test", "A.TEST:443", 200),
        ("a.test", "a.test.", 200),
        ("a.test", "www.a.test", 200),
        ("a.test", "x.w.test", 200),
        ("a.test", "b.test", 421),
        ("a.test", MAIN_HOST, 421),
        ("a.test", "unknown.test", 421),
        ("a.test", "127.0.0.1", 421),
        ("a.test", "c.test", 421),
        ("c.test", "c.test", 200),
        ("c.test", MAIN_HOST, 200),
        ("c.test", "unknown.test", 200),
        ("c.test", "a.test", 421),
        (MAIN_HOST, "c.test", 200),
        (MAIN_HOST, "a.test", 421),
        ("unknown.test", "other.test", 200),
        ("unknown.test", "a.test", 421),
        ("", MAIN_HOST, 200),
        ("", "c.test", 200),
        ("", "a.test", 421),
    ],
)
@in_loop
async def test_host_is_served_only_on_a_connection_with_its_certificate(
    server_name: str, host: str, status: int, tmp_path: Path
) -> None:
    with Recorder(answering(ok())) as recorder:
        async with relay_edge(tmp_path, recorder.url, sites=SITES, kind="https") as edge:
            got = await edge.send(request(host, "/", "GET", "Connection: close"), server_name=server_name)
            assert got.startswith(b"HTTP/1.1 %d " % status)
            assert edge.plane.counters["misdirected"] == (status == 421)
            assert bool(recorder.received) == (status == 200)


@in_loop
async def test_connection_goes_on_after_a_421(tmp_path: Path) -> None:
    with Recorder(answering(ok())) as recorder:
        async with relay_edge(tmp_path, recorder.url, sites=SITES, kind="https") as edge:
            asks = request("a.test") + request("b.test") + request("a.test", "/", "GET", "Connection: close")
            got = await edge.send(asks, server_name="a.test")
            assert [part[:3] for part in got.split(b"HTTP/1.1 ")[1:]] == [b"200", b"421", b"200"]


@in_loop
async def test_clear_text_is_never_misdirected(tmp_path: Path) -> None:
    with Recorder(answering(ok())) as recorder:
        async with relay_edge(tmp_path, recorder.url, sites=SITES) as edge:
            for host in ("a.test", "b.test", "unknown.test"):
                assert (await edge.send(request(host), end=True)).endswith(b"ok")


@in_loop
async def test_hsts_is_on_every_https_answer_and_never_in_clear_text(tmp_path: Path) -> None:
    http = {"hsts": "max-age=63072000", "redirect_to_https": False}
    theirs = b"Strict-Transport-Security: max-age=1"
    line = b"\r\nStrict-Transport-Security: max-age=63072000\r\n"
    asks = request("edge.test") + request("edge.test", "/", "TRACE", "Connection: close")
    with Recorder(answering(ok(b"ok", theirs))) as recorder:
        async with relay_edge(tmp_path, recorder.url, kind="https", http=http) as edge:
            got = await edge.send(asks, server_name=MAIN_HOST)
            assert got.count(line) == 2
            assert got.lower().count(b"strict-transport-security") == 2
        async with relay_edge(tmp_path, recorder.url, kind="https") as edge:
            assert (await edge.send(asks, server_name=MAIN_HOST)).count(theirs) == 1
        async with relay_edge(tmp_path, recorder.url, http=http) as edge:
            assert line not in await edge.send(asks)


@in_loop
async def test_http_1_0_request_without_a_host_is_for_the_name_of_its_connection(tmp_path: Path) -> None:
    with Recorder(answering(ok())) as recorder:
        async with relay_edge(tmp_path, recorder.url, sites=SITES, kind="https") as edge:
            assert (await edge.send(b"GET / HTTP/1.0\r\n\r\n", server_name="a.test")).endswith(b"ok")
            assert b"\r\nHost: a.test\r\n" in recorder.received
            assert (await edge.send(b"GET / HTTP/1.0\r\n\r\n", server_name="")).endswith(b"ok")
            assert f"\r\nHost: {MAIN_HOST}\r\n".encode() in recorder.received
