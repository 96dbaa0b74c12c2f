"""What an upstream of an inspected site may answer: what the fast path takes, and nothing that it refuses."""

import asyncio
from pathlib import Path

import pytest

from tests.deadlines import wait_for_in_loop
from tests.edge_addon.inspection.edge import SITE, inspecting_edge
from tests.edge_addon.relay.test_hostile_responses import CHUNKED, CUT, HOSTILE
from tests.loops import in_loop
from tests.peers.recorder import Connection, Recorder, answering, ok

ASK = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"
IN_CHUNKS = ("bad chunk size", "chunk size beyond")
HEADS = [name for name in HOSTILE if not name.startswith(IN_CHUNKS)]


@pytest.mark.parametrize("name", HEADS)
@in_loop
async def test_what_the_fast_path_refuses_is_refused_here_too(name: str, tmp_path: Path) -> None:
    response, cause = HOSTILE[name]
    with Recorder(answering(response)) as recorder:
        async with inspecting_edge(tmp_path, recorder.url) as edge:
            got = await edge.send(ASK, server_name=SITE)
            assert got.startswith(b"HTTP/1.1 502 "), got
            assert b"poison" not in got
            assert edge.plane.counters[f"upstream_{cause}"] == 1
            await wait_for_in_loop(lambda: recorder.connections[0].is_over, "the end of the upstream connection")


@pytest.mark.parametrize("name", CUT)
@in_loop
async def test_body_that_turns_bad_is_cut_so_that_the_client_notices(name: str, tmp_path: Path) -> None:
    rest, _ = CUT[name]
    with Recorder(answering(CHUNKED + b"5\r\nfirst\r\n" + rest)) as recorder:
        async with inspecting_edge(tmp_path, recorder.url) as edge:
            got = await edge.send(ASK, server_name=SITE)
            assert got.startswith(b"HTTP/1.1 200 OK")
            assert b"Set-Cookie" not in got
            assert not got.endswith(b"0\r\n\r\n")


@in_loop
async def test_trailers_are_left_out_and_the_answer_is_whole(tmp_path: Path) -> None:
    answer = CHUNKED + b"5\r\nfirst\r\n4\r\nlast\r\n0\r\nX-Sum: 1\r\n\r\n"
    with Recorder(answering(answer, ok(b"second"))) as recorder:
        async with inspecting_edge(tmp_path, recorder.url) as edge:
            got = await edge.send(ASK + LAST, server_name=SITE)
            assert b"X-Sum" not in got
            assert b"last\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n" in got
            assert got.endswith(b"second")
            assert len(recorder.connections) == 1


@pytest.mark.parametrize("is_in_pieces", [False, True])
@in_loop
async def test_answers_before_the_answer_do_not_stand_for_it(is_in_pieces: bool, tmp_path: Path) -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"

    async def handle(connection: Connection) -> None:
        for body in (b"first", b"second"):
            await connection.read_head()
            answer = hints * 2 + ok(body)
            for piece in (answer[:60], answer[60:]) if is_in_pieces else (answer,):
                await connection.write(piece)
                await asyncio.sleep(0.05)

    with Recorder(handle) as recorder:
        async with inspecting_edge(tmp_path, recorder.url) as edge:
            got = await edge.send(ASK + LAST, server_name=SITE)
            assert got.count(b"HTTP/1.1 200 OK") == 2
            assert got.count(b"HTTP/1.1") == 2
            assert got.index(b"first") < got.index(b"second")
