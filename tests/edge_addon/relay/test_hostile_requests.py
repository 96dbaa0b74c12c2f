"""Requests that two servers could read in two ways: all are refused, and nothing of them reaches the upstream."""

from pathlib import Path

import h11
import pytest

from tests.deadlines import wait_for_in_loop
from tests.edge_addon.relay.edge import relay_edge
from tests.loops import in_loop
from tests.peers.recorder import Recorder, answering, ok

HOST = b"Host: a.test\r\n"
GET = b"GET / HTTP/1.1\r\n" + HOST
POST = b"POST / HTTP/1.1\r\n" + HOST
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n"

HOSTILE: dict[str, tuple[bytes, int, str]] = {
    # Two readings of the length of the body.
    "length and chunked": (
        POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
        400, "length_and_chunked"),
    "chunked and length": (
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n" + SMUGGLED,
        400, "length_and_chunked"),
    "chunked and a length of nothing": (
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n", 400, "length_and_chunked"),
    "two different lengths": (
        POST + b"Content-Length: 0\r\nContent-Length: 44\r\n\r\n" + SMUGGLED, 400, "two_lengths"),
    "two equal lengths": (POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nab", 400, "two_lengths"),
    "a list of lengths": (POST + b"Content-Length: 2, 2\r\n\r\nab", 400, "two_lengths"),
    "length with a plus": (POST + b"Content-Length: +2\r\n\r\nab", 400, "bad_length"),
    "negative length": (POST + b"Content-Length: -1\r\n\r\n", 400, "bad_length"),
    "hexadecimal length": (POST + b"Content-Length: 0x10\r\n\r\n", 400, "bad_length"),
    "length with a space inside": (POST + b"Content-Length: 1 0\r\n\r\n", 400, "bad_length"),
    "length with an underscore": (POST + b"Content-Length: 1_0\r\n\r\n", 400, "bad_length"),
    "length in other digits": (POST + b"Content-Length: \xd9\xa1\r\n\r\n", 400, "bad_length"),
    "empty length": (POST + b"Content-Length:\r\n\r\n", 400, "bad_length"),
    "length beyond 64 bits": (POST + b"Content-Length: 18446744073709551617\r\n\r\na", 400, "bad_length"),
    "length with a fraction": (POST + b"Content-Length: 1.0\r\n\r\na", 400, "bad_length"),
    "length named in Connection": (
        POST + b"Connection: Content-Length\r\nContent-Length: 44\r\n\r\n" + SMUGGLED, 400, "bad_connection_option"),
    "coding that is not chunked": (POST + b"Transfer-Encoding: gzip\r\n\r\n", 400, "bad_transfer_coding"),
    "identity coding": (POST + b"Transfer-Encoding: identity\r\n\r\n", 400, "bad_transfer_coding"),
    "chunked not last": (POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 400, "bad_transfer_coding"),
    "chunked after another": (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400, "bad_transfer_coding"),
    "chunked twice in one header": (
        POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400, "bad_transfer_coding"),
    "chunked in two headers": (
        POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400, "bad_transfer_coding"),
    "chunked and identity": (
        POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        400, "bad_transfer_coding"),
    "chunked in quotes": (POST + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n', 400, "bad_transfer_coding"),
    "chunked with a parameter": (POST + b"Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n", 400, "bad_transfer_coding"),
    "xchunked": (POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400, "bad_transfer_coding"),
    "chunked behind a vertical tab": (
        POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400, "control_character"),
    "empty coding": (POST + b"Transfer-Encoding:\r\n\r\n", 400, "bad_transfer_coding"),
    "chunked in HTTP/1.0": (
        b"POST / HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "chunked_in_1_0"),
    # Two readings of the end of a line or a header.
    "bare LF after the request line": (b"GET / HTTP/1.1\n" + HOST + b"\r\n", 400, "bare_lf"),
    "bare LF after a header": (b"GET / HTTP/1.1\r\nHost: a.test\nX: y\r\n\r\n", 400, "bare_lf"),
    "bare LF everywhere": (b"GET / HTTP/1.1\nHost: a.test\n\n", 400, "bare_lf"),
    "bare LF before the last CRLF": (b"GET / HTTP/1.1\r\nHost: a.test\n\r\n\r\n", 400, "bare_lf"),
    "bare CR in a value": (GET + b"X: y\rContent-Length: 44\r\n\r\n" + SMUGGLED, 400, "bare_cr"),
    "bare CR after a header": (GET + b"X: y\r\r\n\r\n", 400, "bare_cr"),
    "bare CR in the request line": (b"GET /\r HTTP/1.1\r\n" + HOST + b"\r\n", 400, "bare_cr"),
    "obs-fold": (GET + b"X: y\r\n z\r\n\r\n", 400, "obs_fold"),
    "obs-fold with a tab": (POST + b"Transfer-Encoding:\r\n\tchunked\r\n\r\n0\r\n\r\n", 400, "bad_transfer_coding"),
    "fold before the first header": (b"GET / HTTP/1.1\r\n Host: a.test\r\n\r\n", 400, "obs_fold"),
    "space before the colon": (POST + b"Content-Length : 44\r\n\r\n" + SMUGGLED, 400, "space_before_colon"),
    "tab before the colon": (
        POST + b"Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n", 400, "space_before_colon"),
    "no colon": (GET + b"NoColon\r\n\r\n", 400, "no_colon"),
    "no name": (GET + b": value\r\n\r\n", 400, "bad_field_name"),
    "name with a space": (GET + b"X Y: z\r\n\r\n", 400, "bad_field_name"),
    "name with a slash": (GET + b"X/Y: z\r\n\r\n", 400, "bad_field_name"),
    "name beyond ASCII": (GET + b"Content\xadLength: 5\r\n\r\n", 400, "bad_field_name"),
    "NUL in a value": (GET + b"X: y\0z\r\n\r\n", 400, "control_character"),
    "NUL in a name": (GET + b"X\0: y\r\n\r\n", 400, "control_character"),
    "escape in a value": (GET + b"X: \x1b[2J\r\n\r\n", 400, "control_character"),
    "DEL in a value": (GET + b"X: \x7f\r\n\r\n", 400, "control_character"),
    # Request lines.
    "no version": (b"GET /\r\n" + HOST + b"\r\n", 400, "bad_request_line"),
    "HTTP/0.9": (b"GET /\r\n", 400, "bad_request_line"),
    "HTTP/1.2": (b"GET / HTTP/1.2\r\n" + HOST + b"\r\n", 400, "bad_version"),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "bad_version"),
    "version in lower case": (b"GET / http/1.1\r\n" + HOST + b"\r\n", 400, "bad_version"),
    "version with more digits": (b"GET / HTTP/1.10\r\n" + HOST + b"\r\n", 400, "bad_version"),
    "two spaces": (b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n", 400, "bad_request_line"),
    "tab for a space": (b"GET\t/ HTTP/1.1\r\n" + HOST + b"\r\n", 400, "bad_request_line"),
    "space at the end": (b"GET / HTTP/1.1 \r\n" + HOST + b"\r\n", 400, "bad_request_line"),
    "space in the target": (b"GET /a b HTTP/1.1\r\n" + HOST + b"\r\n", 400, "bad_request_line"),
    "target without a slash": (b"GET index.html HTTP/1.1\r\n" + HOST + b"\r\n", 400, "bad_target"),
    "fragment in the target": (b"GET /#x HTTP/1.1\r\n" + HOST + b"\r\n", 400, "bad_target"),
    "target beyond ASCII": (b"GET /\xc3\xbc HTTP/1.1\r\n" + HOST + b"\r\n", 400, "bad_target"),
    "asterisk with GET": (b"GET * HTTP/1.1\r\n" + HOST + b"\r\n", 400, "bad_target"),
    "other scheme": (b"GET ftp://a.test/ HTTP/1.1\r\n" + HOST + b"\r\n", 400, "bad_target"),
    "absolute target without a host": (b"GET http:///x HTTP/1.1\r\n" + HOST + b"\r\n", 400, "bad_target"),
    "method with a bracket": (b"GE[T / HTTP/1.1\r\n" + HOST + b"\r\n", 400, "bad_method"),
    "method without end": (b"A" * 100 + b" / HTTP/1.1\r\n" + HOST + b"\r\n", 400, "bad_method"),
    # Two readings of the host.
    "no host": (b"GET / HTTP/1.1\r\nX: y\r\n\r\n", 400, "no_host"),
    "two hosts": (GET + b"Host: b.test\r\n\r\n", 400, "two_hosts"),
    "the same host twice": (GET + HOST + b"\r\n", 400, "two_hosts"),
    "empty host": (b"GET / HTTP/1.1\r\nHost:\r\n\r\n", 400, "bad_host"),
    "host with a path": (b"GET / HTTP/1.1\r\nHost: a.test/x\r\n\r\n", 400, "bad_host"),
    "host with a user": (b"GET / HTTP/1.1\r\nHost: x@a.test\r\n\r\n", 400, "bad_host"),
    "host with a space": (b"GET / HTTP/1.1\r\nHost: a.test b.test\r\n\r\n", 400, "bad_host"),
    "list of hosts": (b"GET / HTTP/1.1\r\nHost: a.test, b.test\r\n\r\n", 400, "bad_host"),
    "host with a bad port": (b"GET / HTTP/1.1\r\nHost: a.test:x\r\n\r\n", 400, "bad_host"),
    "host with too high a port": (b"GET / HTTP/1.1\r\nHost: a.test:65536\r\n\r\n", 400, "bad_host"),
    "host beyond ASCII": (b"GET / HTTP/1.1\r\nHost: \xc3\xbc.test\r\n\r\n", 400, "bad_host"),
    "open bracket": (b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400, "bad_host"),
    "target for another host": (b"GET http://b.test/ HTTP/1.1\r\n" + HOST + b"\r\n", 400, "host_conflict"),
    "target with a user": (b"GET http://x@a.test/ HTTP/1.1\r\n" + HOST + b"\r\n", 400, "bad_host"),
    "host named in Connection": (GET + b"Connection: Host\r\n\r\n", 400, "bad_connection_option"),
    # Chunks.
    "chunk size that is none": (CHUNKED + b"x\r\n", 400, "bad_chunk_size"),
    "empty chunk size": (CHUNKED + b"\r\n", 400, "bad_chunk_size"),
    "chunk size with 0x": (CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n", 400, "bad_chunk_size"),
    "chunk size with a plus": (CHUNKED + b"+5\r\nhello\r\n0\r\n\r\n", 400, "bad_chunk_size"),
    "chunk size with a space": (CHUNKED + b"5 \r\nhello\r\n0\r\n\r\n", 400, "bad_chunk_size"),
    "chunk size beyond 64 bits": (CHUNKED + b"10000000000000005\r\nhello\r\n0\r\n\r\n", 400, "bad_chunk_size"),
    "negative chunk size": (CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n", 400, "bad_chunk_size"),
    "chunk line ended by LF": (CHUNKED + b"5\nhello\r\n0\r\n\r\n", 400, "bad_chunk_size"),
    "LF in a chunk extension": (CHUNKED + b"5;a\nb\r\nhello\r\n0\r\n\r\n", 400, "bad_chunk_size"),
    "CR in a chunk extension": (CHUNKED + b"5;a\rb\r\nhello\r\n0\r\n\r\n", 400, "bad_chunk_size"),
    "chunk longer than its size": (CHUNKED + b"5\r\nhelloX\r\n0\r\n\r\n", 400, "bad_chunk_end"),
    "chunk ended by LF": (CHUNKED + b"5\r\nhello\n0\r\n\r\n", 400, "bad_chunk_end"),
    "chunk extension without end": (
        CHUNKED + b"5;" + b"a" * 600 + b"\r\nhello\r\n0\r\n\r\n", 400, "chunk_line_too_long"),
    "chunk extensions in every chunk": (
        CHUNKED + (b"1;" + b"a" * 400 + b"\r\nx\r\n") * 30 + b"0\r\n\r\n", 400, "chunk_extensions"),
    "bare LF in the trailers": (CHUNKED + b"0\r\nX: y\nZ: z\r\n\r\n", 400, "bare_lf"),
    "trailer without a colon": (CHUNKED + b"0\r\nGET / HTTP/1.1\r\n\r\n", 400, "bad_field_name"),
    "folded trailer": (CHUNKED + b"0\r\nX: y\r\n z\r\n\r\n", 400, "obs_fold"),
    "trailers without end": (CHUNKED + b"0\r\nX: " + b"y" * 9000, 431, "bad_trailer"),
    # Too much, or nothing that is HTTP.
    "header too large": (GET + b"X: " + b"y" * 70000 + b"\r\n\r\n", 431, "head_too_large"),
    "header without end": (GET + b"X: " + b"y" * 70000, 431, "head_too_large"),
    "too many headers": (GET + b"X: y\r\n" * 500 + b"\r\n", 431, "too_many_fields"),
    "many empty lines": (b"\r\n" * 10 + GET + b"\r\n", 400, "leading_junk"),
    "LF before the request": (b"\n" + GET + b"\r\n", 400, "bare_lf"),
    "space before the request": (b" " + GET + b"\r\n", 400, "bad_request_line"),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "tls_in_clear"),
    "binary junk": (b"\x00\xff\xfe", 400, "leading_junk"),
    "expectation that nobody knows": (
        POST + b"Expect: 200-maybe\r\nContent-Length: 2\r\n\r\nab", 417, "bad_expectation"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
@in_loop
async def test_hostile_request_is_refused_and_reaches_nobody(name: str, tmp_path: Path) -> None:
    request, status, cause = HOSTILE[name]
    with Recorder(answering(ok())) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            response = await edge.send(request)
            assert response.startswith(b"HTTP/1.1 %d " % status), response
            assert b"\r\nConnection: close\r\n" in response
            assert response.count(b"HTTP/1.1") == 1, "something after the refusal was taken for a request"
            assert edge.plane.counters == {f"request_{cause}": 1}
        assert recorder.received == b""


HARMLESS: dict[str, bytes] = {
    "plain": GET + b"\r\n",
    "one empty line before": b"\r\n" + GET + b"\r\n",
    "no space after the colon": b"GET / HTTP/1.1\r\nHost:a.test\r\n\r\n",
    "spaces around a value": b"GET / HTTP/1.1\r\nHost: \t a.test \t\r\nX:\t y \t\r\n\r\n",
    "empty value": GET + b"X:\r\n\r\n",
    "bytes beyond ASCII in a value": GET + b"X: \xc3\xbc\r\n\r\n",
    "absolute target": b"GET http://a.test/ HTTP/1.1\r\n" + HOST + b"\r\n",
    "absolute target in other case": b"GET HTTP://A.TEST/ HTTP/1.1\r\n" + HOST + b"\r\n",
    "method that few know": b"RPC_IN_DATA / HTTP/1.1\r\n" + HOST + b"\r\n",
    "OPTIONS for the server": b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n",
    "host with a port": b"GET / HTTP/1.1\r\nHost: a.test:8080\r\n\r\n",
    "IPv6 host": b"GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n",
    "HTTP/1.0 without a host": b"GET / HTTP/1.0\r\n\r\n",
    "length with zeros": POST + b"Content-Length: 002\r\n\r\nab",
    "chunked in capitals": POST + b"TRANSFER-ENCODING: Chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
    "chunk extensions": CHUNKED + b'2;a=b;c="d"\r\nab\r\n0;e\r\n\r\n',
    "trailers": CHUNKED + b"2\r\nab\r\n0\r\nX-Sum: 1\r\n\r\n",
}


@pytest.mark.parametrize("name", HARMLESS)
@in_loop
async def test_harmless_request_passes_as_one_request_that_h11_reads_too(name: str, tmp_path: Path) -> None:
    """The control of the table above: too strict a reader would refuse these."""
    with Recorder(answering(ok())) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            response = await edge.send(HARMLESS[name], end=True)
            assert response.startswith(b"HTTP/1.1 200 "), response
            assert not edge.plane.counters
        server = h11.Connection(h11.SERVER)
        server.receive_data(recorder.received)
        events = []
        while (event := server.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
            events.append(event)
        assert isinstance(events[0], h11.Request)
        assert isinstance(events[-1], h11.EndOfMessage)
        body = b"".join(event.data for event in events if isinstance(event, h11.Data))
        assert body == (b"ab" if b"POST" in HARMLESS[name] else b"")


@pytest.mark.parametrize("rest", [b"zz\r\n", b"5\r\nhelloX", b"5\n"])
@in_loop
async def test_bad_chunk_in_a_later_packet_ends_both_sides_and_the_upstream_sees_no_whole_request(
    rest: bytes, tmp_path: Path
) -> None:
    with Recorder(answering(ok())) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            reader, writer = await edge.connect()
            writer.write(CHUNKED + b"3\r\nabc\r\n")
            await wait_for_in_loop(lambda: b"abc" in recorder.received, "the first chunk")
            writer.write(rest + SMUGGLED)
            response = await reader.read()
            assert response.count(b"HTTP/1.1") == 1
            await wait_for_in_loop(lambda: recorder.connections[0].is_over, "the end of the upstream connection")
            assert len(recorder.connections) == 1
            assert b"0\r\n\r\n" not in recorder.received
            assert b"smuggled" not in recorder.received
            writer.close()


@in_loop
async def test_nothing_is_read_as_http_after_a_refusal(tmp_path: Path) -> None:
    with Recorder(answering(ok())) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            reader, writer = await edge.connect()
            writer.write(GET + b"X : y\r\n\r\n")
            assert (await reader.readuntil(b"</html>\n")).startswith(b"HTTP/1.1 400 ")
            writer.write(SMUGGLED * 3)
            assert await reader.read() == b""
            writer.close()
        assert recorder.received == b""


@in_loop
async def test_good_request_before_a_bad_one_is_answered_first(tmp_path: Path) -> None:
    with Recorder(answering(ok(b"first"))) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            response = await edge.send(GET + b"\r\n" + GET + b"X : y\r\n\r\n" + SMUGGLED)
            first, _, second = response.partition(b"first")
            assert first.startswith(b"HTTP/1.1 200 ")
            assert second.startswith(b"HTTP/1.1 400 ")
        assert recorder.received.count(b"GET") == 1
