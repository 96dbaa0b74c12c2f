"""Responses that two clients could read in two ways: the client gets a 502 or sees a cut, never the bytes."""

import asyncio
from pathlib import Path

import pytest

from tests.deadlines import wait_for_in_loop
from tests.edge_addon.relay.edge import relay_edge
from tests.loops import in_loop
from tests.peers.recorder import Connection, Recorder, answering, ok

REQUEST = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
POISON = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"

HOSTILE: dict[str, tuple[bytes, str]] = {
    "length and chunked": (
        OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + POISON, "length_and_chunked"),
    "chunked and length": (
        OK + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + POISON, "length_and_chunked"),
    "two different lengths": (OK + b"Content-Length: 0\r\nContent-Length: 57\r\n\r\n" + POISON, "two_lengths"),
    "a list of lengths": (OK + b"Content-Length: 2, 2\r\n\r\nok", "two_lengths"),
    "length with a plus": (OK + b"Content-Length: +2\r\n\r\nok", "bad_length"),
    "negative length": (OK + b"Content-Length: -2\r\n\r\nok", "bad_length"),
    "length beyond 64 bits": (OK + b"Content-Length: 18446744073709551618\r\n\r\nok", "bad_length"),
    "coding that is not chunked": (OK + b"Transfer-Encoding: gzip\r\n\r\nok", "bad_transfer_coding"),
    "chunked not last": (OK + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", "bad_transfer_coding"),
    "chunked twice": (
        OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "bad_transfer_coding"),
    "chunked in HTTP/1.0": (b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "chunked_in_1_0"),
    "obs-fold": (OK + b"X: y\r\n z\r\nContent-Length: 0\r\n\r\n", "obs_fold"),
    "space within a name before the colon": (OK + b"X Y : z\r\n\r\n", "bad_field_name"),
    "two lengths, one with a space before the colon": (
        OK + b"Content-Length : 2\r\nContent-Length: 3\r\n\r\nok", "two_lengths"),
    "a coding with a tab before the colon, and a length": (
        OK + b"Transfer-Encoding\t: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", "length_and_chunked"),
    "no colon": (OK + b"Nothing\r\n\r\n", "no_colon"),
    "no name": (OK + b": x\r\n\r\n", "bad_field_name"),
    "name with a space": (OK + b"X Y: z\r\n\r\n", "bad_field_name"),
    "bare LF": (b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", "bare_lf"),
    "bare LF in a header": (OK + b"X: y\nSet-Cookie: a=b\r\n\r\n", "bare_lf"),
    "bare CR in a header": (OK + b"X: y\rSet-Cookie: a=b\r\n\r\n", "bare_cr"),
    "NUL in a header": (OK + b"X: \0\r\n\r\n", "control_character"),
    "escape in the reason": (b"HTTP/1.1 200 \x1b[2J\r\n\r\n", "control_character"),
    "no status": (b"HTTP/1.1 OK\r\n\r\n", "bad_status_line"),
    "status of two digits": (b"HTTP/1.1 20 OK\r\n\r\n", "bad_status_line"),
    "status of four digits": (b"HTTP/1.1 2000 OK\r\n\r\n", "bad_status_line"),
    "status 600": (b"HTTP/1.1 600 Odd\r\n\r\n", "bad_status_line"),
    "status 000": (b"HTTP/1.1 000 Odd\r\n\r\n", "bad_status_line"),
    "HTTP/2.0": (b"HTTP/2.0 200 OK\r\n\r\n", "bad_status_line"),
    "HTTP/1.2": (b"HTTP/1.2 200 OK\r\n\r\n", "bad_status_line"),
    "two spaces": (b"HTTP/1.1  200 OK\r\n\r\n", "bad_status_line"),
    "no HTTP": (b"220 mail.test ESMTP ready\r\n\r\n", "bad_status_line"),
    "bad chunk size, in one piece": (CHUNKED + b"zz\r\n", "bad_chunk_size"),
    "chunk size beyond 64 bits, in one piece": (CHUNKED + b"10000000000000002\r\nok\r\n0\r\n\r\n", "bad_chunk_size"),
    "no line at all": (b"\x15\x03\x03\x00\x02\x02\x16", "bad_status_line"),
    "header too large": (OK + b"X: " + b"y" * 70000 + b"\r\n\r\n", "head_too_large"),
    "too many headers": (OK + b"X: y\r\n" * 500 + b"\r\n", "too_many_fields"),
    "1xx without end": (b"HTTP/1.1 102 Processing\r\n\r\n" * 100, "too_many_informational"),
    "upgrade that nobody asked for": (
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", "unasked_upgrade"),
    "content type named in Connection": (
        OK + b"Connection: content-type\r\nContent-Type: text/plain\r\n\r\n", "bad_connection_option"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
@in_loop
async def test_hostile_response_becomes_a_502_and_its_connection_is_not_used_again(name: str, tmp_path: Path) -> None:
    response, cause = HOSTILE[name]
    with Recorder(answering(response)) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            got = await edge.send(REQUEST, end=True)
            final = got[got.rindex(b"HTTP/1.1") :]
            assert final.startswith(b"HTTP/1.1 502 "), got
            assert b"poison" not in got
            assert b"Set-Cookie" not in got
            assert edge.plane.counters == {f"upstream_{cause}": 1}
            await wait_for_in_loop(lambda: recorder.connections[0].is_over, "the end of the upstream connection")


CUT: dict[str, tuple[bytes, str]] = {
    "chunk size that is none": (b"zz\r\n", "bad_chunk_size"),
    "chunk longer than its size": (b"2\r\nokX\r\n0\r\n\r\n", "bad_chunk_end"),
    "chunk ended by LF": (b"2\r\nok\n0\r\n\r\n", "bad_chunk_end"),
    "chunk line ended by LF": (b"2\nok\r\n0\r\n\r\n", "bad_chunk_size"),
    "LF in a chunk extension": (b"2;a\nb\r\nok\r\n0\r\n\r\n", "bad_chunk_size"),
    "chunk extension without end": (b"2;" + b"a" * 600, "chunk_line_too_long"),
    "bare LF in a trailer": (b"0\r\nX: y\nSet-Cookie: a=b\r\n\r\n", "bare_lf"),
    "folded trailer": (b"0\r\nX: y\r\n z\r\n\r\n", "obs_fold"),
}


@pytest.mark.parametrize("name", CUT)
@in_loop
async def test_body_that_turns_bad_is_cut_so_that_the_client_notices(name: str, tmp_path: Path) -> None:
    rest, cause = CUT[name]

    async def handle(connection: Connection) -> None:
        await connection.read_head()
        await connection.write(CHUNKED + b"5\r\nfirst\r\n")
        await connection.read_until(b"go on")
        await connection.write(rest)

    with Recorder(handle) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            reader, writer = await edge.connect()
            writer.write(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\n")
            got = await reader.readuntil(b"first\r\n")
            writer.write(b"go on")
            got += await reader.read()
            assert got.endswith(b"5\r\nfirst\r\n")
            assert edge.plane.counters == {f"upstream_{cause}": 1}
            writer.close()
            await wait_for_in_loop(lambda: recorder.connections[0].is_over, "the end of the upstream connection")


CHUNKED_MINE = CHUNKED + b"4\r\nmine\r\n0\r\n\r\n"
MINE = {
    "length": [ok(b"mine") + POISON],
    "length, in pieces": [ok(b"mine")[:-2], ok(b"mine")[-2:] + POISON],
    "chunked": [CHUNKED_MINE + POISON],
    "chunked, in pieces": [CHUNKED_MINE[:-8], CHUNKED_MINE[-8:] + POISON],
    "chunked with trailers": [CHUNKED_MINE[:-2] + b"X-T: 1\r\n\r\n" + POISON],
    "no body": [b"HTTP/1.1 204 No Content\r\n\r\n" + POISON],
}


@pytest.mark.parametrize("name", MINE)
@in_loop
async def test_bytes_after_a_response_never_become_the_next_ones_answer(name: str, tmp_path: Path) -> None:
    first, *rest = MINE[name]

    async def handle(connection: Connection) -> None:
        await connection.read_head()
        await connection.write(first)
        for piece in rest:
            await connection.read_until(b".")
            await connection.write(piece)

    with Recorder(handle) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            for _ in range(3):
                reader, writer = await edge.connect()
                writer.write(REQUEST if not rest else REQUEST.replace(b"\r\n\r\n", b"\r\nContent-Length: 1\r\n\r\n"))
                got = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
                writer.write(b"." if rest else b"")
                writer.write_eof()
                got += await asyncio.wait_for(reader.read(), 60)
                assert b"poison" not in got
                assert got.count(b"HTTP/1.1 ") == 1
            assert len(recorder.connections) == 3


@in_loop
async def test_bytes_on_an_idle_connection_end_it(tmp_path: Path) -> None:
    """A server may send an answer without a request, such as a 408 at its idle limit."""

    with Recorder(answering(ok(b"mine"))) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            assert (await edge.send(REQUEST, end=True)).endswith(b"mine")
            recorder.say(0, POISON)
            await wait_for_in_loop(lambda: recorder.connections[0].is_over, "the end of the idle connection")
            assert (await edge.send(REQUEST, end=True)).endswith(b"mine")
            assert len(recorder.connections) == 2
