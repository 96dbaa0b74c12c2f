"""HTTP/2 requests that an HTTP/1.1 server could read in another way: refused, and none of their bytes reach it."""

from pathlib import Path

import pytest

from tests.deadlines import wait_for_in_loop
from tests.edge_addon.relay.edge import entry, relay_edge
from tests.edge_addon.relay.http2.raw import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PROTOCOL_ERROR,
    START,
    RawHttp2,
    block,
    frame,
    get,
    head,
)  # fmt: skip
from tests.loops import in_loop
from tests.peers.recorder import Connection, Recorder, answering, ok, silent

Field = tuple[bytes, bytes]
METHOD, SCHEME = (b":method", b"GET"), (b":scheme", b"https")
AUTHORITY, PATH = (b":authority", b"edge.test"), (b":path", b"/")
GOOD = (METHOD, SCHEME, AUTHORITY, PATH)
POST = ((b":method", b"POST"), SCHEME, AUTHORITY, PATH)
CONNECT = (b":method", b"CONNECT")
WEBSOCKET = (b":protocol", b"websocket")
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: edge.test\r\n\r\n"
BREAKS = {"CR LF": b"\r\n", "LF": b"\n", "CR": b"\r", "NUL": b"\0", "CR LF CR LF": b"\r\n\r\n" + SMUGGLED}


def replaced(name: bytes, value: bytes) -> tuple[Field, ...]:
    return tuple((each, value if each == name else old) for each, old in GOOD)


HOSTILE: dict[str, tuple[tuple[Field, ...], int]] = {
    # A line end, or what a server may read as one, in every place that becomes text.
    **{f"{what} in a value": ((*GOOD, (b"x-a", b"a" + end + b"x-b: b")), 400) for what, end in BREAKS.items()},
    **{f"{what} in a name": ((*GOOD, (b"x-a" + end + b"x-b", b"c")), 400) for what, end in BREAKS.items()},
    **{f"{what} at the end of a value": ((*GOOD, (b"x-a", b"a" + end)), 400) for what, end in BREAKS.items()},
    **{
        f"{what} in {name.decode()}": (replaced(name, value + end + b"x: y"), 400)
        for what, end in BREAKS.items()
        for name, value in GOOD
    },
    **{f"{what} in a cookie": ((*GOOD, (b"cookie", b"a=1" + end + b"b=2")), 400) for what, end in BREAKS.items()},
    **{f"{what} in :protocol": ((CONNECT, SCHEME, AUTHORITY, PATH, (b":protocol", b"websocket" + end)), 501)
       for what, end in BREAKS.items()},
    "DEL in a value": ((*GOOD, (b"x-a", b"a\x7fb")), 400),
    "a blank before a value": ((*GOOD, (b"x-a", b" a")), 400),
    "a tab behind a value": ((*GOOD, (b"x-a", b"a\t")), 400),
    "a blank before a length": ((*POST, (b"content-length", b" 2")), 400),
    # A second request in the request line.
    "a blank in :path": (replaced(b":path", b"/ HTTP/1.1"), 400),
    "a version and a host in :path": (replaced(b":path", b"/x HTTP/1.1\r\nHost: b.test\r\n\r\nGET /"), 400),
    "a blank in :method": (replaced(b":method", b"GET /x HTTP/1.1"), 400),
    "a tab in :path": (replaced(b":path", b"/a\tb"), 400),
    "a fragment in :path": (replaced(b":path", b"/a#b"), 400),
    ":path not in ASCII": (replaced(b":path", b"/\xc3\xa4"), 400),
    # Names.
    "an upper-case name": ((*GOOD, (b"X-A", b"a")), 400),
    "an empty name": ((*GOOD, (b"", b"a")), 400),
    "a blank in a name": ((*GOOD, (b"x a", b"a")), 400),
    "a colon in a name": ((*GOOD, (b"x:a", b"a")), 400),
    "a blank behind a name": ((*GOOD, (b"x-a ", b"a")), 400),
    "a name with a slash": ((*GOOD, (b"x/a", b"a")), 400),
    "a name not in ASCII": ((*GOOD, (b"x-\xe4", b"a")), 400),
    "upper-case Transfer-Encoding": ((*POST, (b"Transfer-Encoding", b"chunked")), 400),
    "upper-case :PATH": ((METHOD, SCHEME, AUTHORITY, (b":PATH", b"/")), 400),
    # Pseudo-headers.
    **{f"{name.decode()} twice": ((*GOOD, (name, value)), 400) for name, value in GOOD},
    **{f"{name.decode()} behind a field": (
        (*(each for each in GOOD if each[0] != name), (b"x-a", b"a"), (name, value)), 400) for name, value in GOOD},
    **{f"{name.decode()} missing": (tuple(each for each in GOOD if each[0] != name), 400) for name, _ in GOOD},
    **{f"{name.decode()} empty": (replaced(name, b""), 400) for name, _ in GOOD},
    "an unknown pseudo-header": ((*GOOD, (b":x", b"a")), 400),
    "a pseudo-header without a name": ((*GOOD, (b":", b"a")), 400),
    ":status in a request": ((*GOOD, (b":status", b"200")), 400),
    ":scheme of something else": (replaced(b":scheme", b"file"), 400),
    "no field at all": ((), 400),
    # Connection headers (RFC 9113 §8.2.2).
    **{f"{name.decode()} in HTTP/2": ((*GOOD, (name, value)), 400) for name, value in (
        (b"connection", b"close"), (b"connection", b"x-a"), (b"keep-alive", b"1"), (b"proxy-connection", b"close"),
        (b"upgrade", b"websocket"), (b"upgrade", b"h2c"), (b"transfer-encoding", b"identity"))},
    "transfer-encoding: chunked": ((*POST, (b"transfer-encoding", b"chunked")), 400),
    "transfer-encoding and length": ((*POST, (b"content-length", b"2"), (b"transfer-encoding", b"chunked")), 400),
    "te: chunked": ((*GOOD, (b"te", b"chunked")), 400),
    "te: trailers and more": ((*GOOD, (b"te", b"trailers, deflate")), 400),
    # Lengths.
    "a length and the end at once": ((*POST, (b"content-length", b"%d" % len(SMUGGLED))), 400),
    "two lengths": ((*POST, (b"content-length", b"0"), (b"content-length", b"44")), 400),
    "two equal lengths": ((*POST, (b"content-length", b"0"), (b"content-length", b"0")), 400),
    "a list of lengths": ((*POST, (b"content-length", b"0, 0")), 400),
    **{f"length {value!r}": ((*POST, (b"content-length", value)), 400)
       for value in (b"+0", b"-0", b"-1", b"0x0", b"0_0", b"1e1", b"", b"0;", b"\xb2", b"9" * 19)},
    # Hosts.
    "host is another one": ((*GOOD, (b"host", b"b.test")), 400),
    "host twice": ((*GOOD, (b"host", b"edge.test"), (b"host", b"edge.test")), 400),
    "host twice, no :authority": ((METHOD, SCHEME, PATH, (b"host", b"edge.test"), (b"host", b"b.test")), 400),
    "a user in :authority": (replaced(b":authority", b"b.test@edge.test"), 400),
    "a path in :authority": (replaced(b":authority", b"edge.test/x"), 400),
    "two hosts in :authority": (replaced(b":authority", b"edge.test,b.test"), 400),
    "a blank in :authority": (replaced(b":authority", b"edge.test b.test"), 400),
    "another certificate's host": (replaced(b":authority", b"b.test"), 421),
    # Forms of the target (RFC 9113 §8.3.1).
    ":path in absolute form": (replaced(b":path", b"https://edge.test/"), 400),
    ":path in absolute form, another host": (replaced(b":path", b"http://b.test/"), 400),
    ":path without its slash": (replaced(b":path", b"x"), 400),
    ":path of only a query": (replaced(b":path", b"?x"), 400),
    "* for a method that has none": (replaced(b":path", b"*"), 400),
    "** for OPTIONS": (((b":method", b"OPTIONS"), SCHEME, AUTHORITY, (b":path", b"**")), 400),
    # CONNECT, plain and extended (RFC 9113 §8.5, RFC 8441).
    "CONNECT": ((CONNECT, AUTHORITY), 405),
    "CONNECT to somewhere": ((CONNECT, (b":authority", b"internal.test:22")), 405),
    "CONNECT with a path": ((CONNECT, SCHEME, AUTHORITY, PATH), 400),
    "CONNECT with a scheme": ((CONNECT, SCHEME, AUTHORITY), 400),
    ":protocol of a GET": ((*GOOD, WEBSOCKET), 400),
    ":protocol that nobody speaks": ((CONNECT, SCHEME, AUTHORITY, PATH, (b":protocol", b"connect-udp")), 501),
    ":protocol empty": ((CONNECT, SCHEME, AUTHORITY, PATH, (b":protocol", b"")), 501),
    ":protocol without :path": ((CONNECT, SCHEME, AUTHORITY, WEBSOCKET), 400),
    ":protocol without :authority": ((CONNECT, SCHEME, PATH, WEBSOCKET, (b"host", b"edge.test")), 400),
    ":protocol with a length": ((CONNECT, SCHEME, AUTHORITY, PATH, WEBSOCKET, (b"content-length", b"44")), 400),
    ":protocol with an upgrade": ((CONNECT, SCHEME, AUTHORITY, PATH, WEBSOCKET, (b"upgrade", b"websocket")), 400),
    ":protocol beside a pseudo-header too late": (
        (CONNECT, SCHEME, AUTHORITY, WEBSOCKET, (b"sec-websocket-key", b"a"), PATH), 400),
    # Others.
    "TRACE": (replaced(b":method", b"TRACE"), 405),
    "an unknown expectation": ((*GOOD, (b"expect", b"a miracle")), 417),
    "more fields than anybody needs": ((*GOOD, *((b"x-%d" % number, b"a") for number in range(250))), 431),
}  # fmt: skip


def edge_for(recorder: Recorder, folder: Path):  # type: ignore[no-untyped-def]
    return relay_edge(folder, recorder.url, sites=[entry("b.test", "b.test")], kind="https")


def cut(encoded: bytes, stream: int, flags: int) -> bytes:
    """Build HEADERS and as many CONTINUATIONs as needed."""
    pieces = [encoded[start : start + 8192] for start in range(0, len(encoded), 8192)] or [b""]
    frames = [frame(HEADERS if not number else CONTINUATION, piece, stream=stream, flags=flags & END_STREAM)
              for number, piece in enumerate(pieces)]  # fmt: skip
    last = bytearray(frames[-1])
    last[4] |= END_HEADERS
    return b"".join((*frames[:-1], bytes(last)))


@pytest.mark.parametrize("name", HOSTILE)
@in_loop
async def test_a_hostile_head_is_refused_and_reaches_nobody(name: str, tmp_path: Path) -> None:
    """The connection goes on: the next request is answered, and the upstream has seen only that one."""
    fields, status = HOSTILE[name]
    with Recorder(answering(ok())) as recorder:
        async with edge_for(recorder, tmp_path) as edge, RawHttp2(edge.port) as client:
            await client.send(START + cut(block(*fields), 1, END_STREAM | END_HEADERS))
            seen = await client.until_ended(1)
            assert not recorder.received
            await client.send(get(3, b"/next"))
            await client.until_ended(3)
            assert sum(edge.plane.counters.values()) == 1, edge.plane.counters

    assert (seen.status(1), seen.status(3), seen.goaway) == (status, 200, None)
    assert recorder.received.startswith(b"GET /next HTTP/1.1\r\n")
    assert recorder.received.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize("name", [name for name, (fields, _) in HOSTILE.items() if fields[:1] == (METHOD,)])
@in_loop
async def test_a_hostile_head_with_a_body_to_come_is_refused_too(name: str, tmp_path: Path) -> None:
    with Recorder(answering(ok())) as recorder:
        async with edge_for(recorder, tmp_path) as edge, RawHttp2(edge.port) as client:
            await client.send(START + cut(block(*HOSTILE[name][0]), 1, END_HEADERS))
            await client.send(frame(DATA, SMUGGLED, stream=1, flags=END_STREAM) + get(3, b"/next"))
            seen = await client.until_ended(3)

    assert seen.status(1) == HOSTILE[name][1]
    assert (seen.status(3), seen.goaway) == (200, None)
    assert recorder.received.startswith(b"GET /next HTTP/1.1\r\n")
    assert b"smuggled" not in recorder.received


LENGTHS = {
    "DATA shorter than the length": (b"10", [(b"12345", END_STREAM)]),
    "DATA longer than the length": (b"5", [(b"1234567890", END_STREAM)]),
    "DATA longer than the length, a frame later": (b"5", [(b"12345", 0), (SMUGGLED, END_STREAM)]),
    "DATA behind a length of nothing": (b"0", [(SMUGGLED, END_STREAM)]),
    "no DATA": (b"44", [(b"", END_STREAM)]),
}


@pytest.mark.parametrize("name", LENGTHS)
@in_loop
async def test_a_body_of_another_length_ends_the_upstreams_connection(name: str, tmp_path: Path) -> None:
    """Excess bytes are never written there, and no other request follows on that connection."""
    length, frames = LENGTHS[name]

    async def handle(connection: Connection) -> None:
        request = await connection.read_head()
        if b"/next" in request:
            await connection.write(ok())

    with Recorder(handle) as recorder:
        async with edge_for(recorder, tmp_path) as edge, RawHttp2(edge.port) as client:
            opening = head(b"/", (b"content-length", length), method=b"POST")
            await client.send(START + frame(HEADERS, opening, stream=1, flags=END_HEADERS))
            await wait_for_in_loop(lambda: b"\r\n\r\n" in recorder.received, "the head at the upstream")
            for data, flags in frames:
                await client.send(frame(DATA, data, stream=1, flags=flags))
            seen = await client.until_ended(1)
            await client.send(get(3, b"/next"))
            await client.until_ended(3)
            await wait_for_in_loop(lambda: recorder.connections[0].is_over, "the end of the broken request")
            await edge.counted("request_bad_length")

    assert (seen.resets[1], seen.status(3), seen.goaway) == (PROTOCOL_ERROR, 200, None)
    assert b"smuggled" not in recorder.received
    assert len(recorder.connections[0].received.partition(b"\r\n\r\n")[2]) <= int(length)
    assert recorder.connections[1].received.startswith(b"GET /next")


@in_loop
async def test_trailers_before_the_announced_length_end_the_request(tmp_path: Path) -> None:
    with Recorder(silent) as recorder:
        async with edge_for(recorder, tmp_path) as edge, RawHttp2(edge.port) as client:
            opening = head(b"/", (b"content-length", b"10"), method=b"POST")
            await client.send(START + frame(HEADERS, opening, stream=1, flags=END_HEADERS))
            await client.send(frame(DATA, b"12345", stream=1))
            await client.send(frame(HEADERS, block((b"x-a", b"b")), stream=1, flags=END_STREAM | END_HEADERS))
            seen = await client.until_ended(1)
            await edge.counted("request_bad_length")

    assert seen.resets[1] == PROTOCOL_ERROR


TRAILERS: dict[str, tuple[Field, ...]] = {
    "a pseudo-header": ((b":path", b"/x"),),
    "an upper-case name": ((b"X-A", b"b"),),
    "a line end in a value": ((b"x-a", b"b\r\n\r\n" + SMUGGLED),),
    "a line end in a name": ((b"x-a\r\nx-b", b"b"),),
    "a connection header": ((b"connection", b"close"),),
    "transfer-encoding": ((b"transfer-encoding", b"chunked"),),
    "a blank at the end": ((b"x-a", b"b "),),
    "a NUL": ((b"x-a", b"\0"),),
    "an empty name": ((b"", b"b"),),
}


@pytest.mark.parametrize("name", TRAILERS)
@in_loop
async def test_hostile_trailers_end_the_request(name: str, tmp_path: Path) -> None:
    async def handle(connection: Connection) -> None:
        if b"/next" in await connection.read_head():
            await connection.write(ok())

    with Recorder(handle) as recorder:
        async with edge_for(recorder, tmp_path) as edge, RawHttp2(edge.port) as client:
            await client.send(START + frame(HEADERS, head(method=b"POST"), stream=1, flags=END_HEADERS))
            await client.send(frame(DATA, b"body", stream=1))
            await wait_for_in_loop(lambda: b"body" in recorder.received, "the body at the upstream")
            await client.send(frame(HEADERS, block(*TRAILERS[name]), stream=1, flags=END_STREAM | END_HEADERS))
            seen = await client.until_ended(1)
            await client.send(get(3, b"/next"))
            await client.until_ended(3)

    assert (seen.resets[1], seen.status(3), seen.goaway) == (PROTOCOL_ERROR, 200, None)
    assert recorder.connections[0].received.endswith(b"4\r\nbody\r\n"), "the body never ends there"
    assert recorder.connections[1].received.startswith(b"GET /next")


@in_loop
async def test_a_second_head_without_an_end_ends_the_request(tmp_path: Path) -> None:
    with Recorder(silent) as recorder:
        async with edge_for(recorder, tmp_path) as edge, RawHttp2(edge.port) as client:
            await client.send(START + frame(HEADERS, head(method=b"POST"), stream=1, flags=END_HEADERS))
            await client.send(frame(HEADERS, block((b"x-a", b"b")), stream=1, flags=END_HEADERS))
            seen = await client.until_ended(1)

    assert seen.resets[1] == PROTOCOL_ERROR


@in_loop
async def test_trailers_that_frame_or_route_are_left_out(tmp_path: Path) -> None:
    async def handle(connection: Connection) -> None:
        await connection.read_until(b"\r\n0\r\n")
        await connection.read_until(b"\r\n\r\n")
        await connection.write(ok())

    trailers = ((b"x-sum", b"1"), (b"content-length", b"44"), (b"host", b"b.test"), (b"authorization", b"Basic x"),
                (b"cookie", b"a=b"), (b"x-forwarded-for", b"192.0.2.1"), (b"te", b"trailers"))  # fmt: skip
    with Recorder(handle) as recorder:
        async with edge_for(recorder, tmp_path) as edge, RawHttp2(edge.port) as client:
            await client.send(START + frame(HEADERS, head(method=b"POST"), stream=1, flags=END_HEADERS))
            await client.send(frame(DATA, b"body", stream=1))
            await client.send(frame(HEADERS, block(*trailers), stream=1, flags=END_STREAM | END_HEADERS))
            assert (await client.until_ended(1)).status(1) == 200

    assert recorder.received.endswith(b"4\r\nbody\r\n0\r\nx-sum: 1\r\n\r\n")


PASSED_ON: dict[str, tuple[tuple[Field, ...], tuple[bytes, ...], tuple[bytes, ...]]] = {
    # fields; lines that the upstream gets; what it does not get
    "cookie crumbs are one cookie": (
        (*GOOD, (b"cookie", b"a=1"), (b"x-a", b"b"), (b"cookie", b"b=2"), (b"cookie", b"c=3")),
        (b"cookie: a=1; b=2; c=3",), ()),
    "host that says the same": ((*GOOD, (b"host", b"EDGE.test")), (b"Host: edge.test",), (b"EDGE",)),
    "host instead of :authority": ((METHOD, SCHEME, PATH, (b"host", b"edge.test")), (b"Host: edge.test",), ()),
    "OPTIONS *": (((b":method", b"OPTIONS"), SCHEME, AUTHORITY, (b":path", b"*")), (b"OPTIONS * HTTP/1.1",), ()),
    "the client's word about itself": (
        (*GOOD, (b"x-forwarded-for", b"192.0.2.1"), (b"forwarded", b"for=192.0.2.1"), (b"x-real-ip", b"192.0.2.1")),
        (b"X-Real-IP: 127.0.0.1",), (b"192.0.2.1",)),
    "headers for CGI": ((*GOOD, (b"proxy", b"http://x.test"), (b"x_forwarded_for", b"1")), (), (b"x.test", b"x_f")),
    "HTTP/2's own settings": ((*GOOD, (b"http2-settings", b"AAMAAABk")), (), (b"http2-settings",)),
    "te: trailers": ((*GOOD, (b"te", b"trailers")), (b"TE: trailers", b"Connection: TE"), ()),
    "an empty value": ((*GOOD, (b"x-a", b"")), (b"x-a: ",), ()),
    "bytes beyond ASCII in a value": ((*GOOD, (b"x-a", b"\xe4")), (b"x-a: \xe4",), ()),
    "a method of Outlook's": (
        ((b":method", b"RPC_IN_DATA"), SCHEME, AUTHORITY, PATH), (b"RPC_IN_DATA / HTTP/1.1",), ()),
}  # fmt: skip


@pytest.mark.parametrize("name", PASSED_ON)
@in_loop
async def test_what_is_passed_on_has_one_meaning(name: str, tmp_path: Path) -> None:
    fields, wanted, unwanted = PASSED_ON[name]
    with Recorder(answering(ok())) as recorder:
        async with edge_for(recorder, tmp_path) as edge, RawHttp2(edge.port) as client:
            await client.send(START + cut(block(*fields), 1, END_STREAM | END_HEADERS))
            assert (await client.until_ended(1)).status(1) == 200

    lines = recorder.received.removesuffix(b"\r\n\r\n").split(b"\r\n")
    assert set(wanted) <= set(lines)
    assert not any(each in recorder.received for each in unwanted)
