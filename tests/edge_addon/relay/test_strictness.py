"""The README's table of what HTTP the edge takes: each row is sent to the edge, and to nginx where it is installed."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from tests.edge_addon.relay.edge import relay_edge
from tests.loops import in_loop
from tests.peers.nginx import Nginx
from tests.peers.recorder import Recorder, answering, ok

README = Path(__file__).parents[3] / "README.md"
HOST = b"Host: a.test\r\n"
GET = b"GET /echo HTTP/1.1\r\n" + HOST
PUT = b"PUT /files/x HTTP/1.1\r\n" + HOST
CHUNKED = PUT + b"Transfer-Encoding: chunked\r\n\r\n"
REQUESTS = {
    "a blank before the colon, request": GET + b"X-Odd : y\r\n\r\n",
    "bare LF as a line end": b"GET /echo HTTP/1.1\nHost: a.test\n\n",
    "bare CR in a line": GET + b"X-Odd: y\rz\r\n\r\n",
    "a folded line (obs-fold)": GET + b"X-Odd: y\r\n z\r\n\r\n",
    "NUL in a value": GET + b"X-Odd: y\0z\r\n\r\n",
    "another control character in a value": GET + b"X-Odd: y\x1bz\r\n\r\n",
    "an empty line before the request": b"\r\n" + GET + b"\r\n",
    "three empty lines before the request": b"\r\n\r\n\r\n" + GET + b"\r\n",
    "Content-Length twice with one value": PUT + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nab",
    "Content-Length as a list": PUT + b"Content-Length: 2, 2\r\n\r\nab",
    "Content-Length beside Transfer-Encoding": PUT
    + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a coding before chunked": PUT + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding in HTTP/1.0": CHUNKED.replace(b"HTTP/1.1", b"HTTP/1.0") + b"0\r\n\r\n",
    "a target with the host of Host (absolute form)": b"GET http://a.test/echo HTTP/1.1\r\n" + HOST + b"\r\n",
    "a target with another host than Host": b"GET http://b.test/echo HTTP/1.1\r\n" + HOST + b"\r\n",
    "Host twice": GET + HOST + b"\r\n",
    "no Host in HTTP/1.1": b"GET /echo HTTP/1.1\r\n\r\n",
    "a list in Host": b"GET /echo HTTP/1.1\r\nHost: a.test, b.test\r\n\r\n",
    "a blank in a name": GET + b"X Odd: y\r\n\r\n",
    "another character in a name that no token has": GET + b"X/Odd: y\r\n\r\n",
    "an underscore in a name": GET + b"X_Odd: y\r\n\r\n",
    "a line without a colon": GET + b"X-Odd\r\n\r\n",
    "chunk extensions": CHUNKED + b"2;X-Odd=y\r\nab\r\n0\r\n\r\n",
    "a chunk line that ends with LF": CHUNKED + b"2\nab\r\n0\r\n\r\n",
    "a blank behind a chunk size": CHUNKED + b"2 \r\nab\r\n0\r\n\r\n",
    "trailers": CHUNKED + b"2\r\nab\r\n0\r\nX-Odd: y\r\n\r\n",
    "HTTP/1.2": GET.replace(b"1.1", b"1.2") + b"\r\n",
    "HTTP/0.9": b"GET /echo\r\n",
    "two blanks in the request line": GET.replace(b" /", b"  /") + b"\r\n",
    "bytes beyond ASCII in the target": GET.replace(b"echo", b"echo?\xc3\xbc") + b"\r\n",
    "a fragment in the target": GET.replace(b"echo", b"echo#x") + b"\r\n",
    "an unknown expectation": GET + b"Expect: X-Odd\r\n\r\n",
    "Upgrade: h2c": GET + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
}
RESPONSE = "a blank before the colon, response"
ODD = re.compile(rb"[Xx][-_ /]Odd|^\r\n|http://|h2c")
"""What a repaired or cleaned message does not hold any more."""


def table() -> dict[str, tuple[str, str]]:
    """Each row of the README: what the edge does, and nginx."""
    text = README.read_text(encoding="utf-8").partition("## What HTTP it takes")[2].partition("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| ")
    ]
    return {row[0]: (row[1], row[2]) for row in rows[1:]}


TABLE = table()


def test_the_table_has_a_row_for_each_case_with_a_reason() -> None:
    assert set(TABLE) == {*REQUESTS, RESPONSE}
    assert {edge for edge, _ in TABLE.values()} == {"refuses", "repairs", "drops", "passes"}


@pytest.mark.parametrize("name", REQUESTS)
@in_loop
async def test_the_edge_does_what_the_table_says(name: str, tmp_path: Path) -> None:
    with Recorder(answering(ok())) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            answer = await edge.send(REQUESTS[name], end=True)
        received = recorder.received
    does = TABLE[name][0]
    if does == "refuses":
        assert answer.startswith(b"HTTP/1.1 4")
        assert received == b""
        return
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert bool(ODD.search(received)) is (does == "passes")


@in_loop
async def test_the_edge_repairs_a_response_as_the_table_says(tmp_path: Path) -> None:
    sent = b"HTTP/1.1 200 OK\r\nX-Odd : y\r\nContent-Length : 2\r\n\r\nok"
    with Recorder(answering(sent)) as recorder:
        async with relay_edge(tmp_path, recorder.url) as edge:
            answer = await edge.send(GET + b"\r\n", end=True)
    assert TABLE[RESPONSE][0] == "repairs"
    assert b"\r\nX-Odd: y\r\n" in answer
    assert answer.endswith(b"\r\n\r\nok")


@pytest.mark.peer
def test_nginx_does_what_the_table_says() -> None:
    with Nginx() as nginx:
        port = int(nginx.url.rpartition(":")[2].strip("/"))
        for name, sent in REQUESTS.items():
            with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
                connection.sendall(sent)
                connection.shutdown(socket.SHUT_WR)
                answer = connection.makefile("rb").read()
            is_refused = re.match(rb"HTTP/1.1 [45]", answer) is not None
            assert is_refused is (TABLE[name][1] == "refuses"), name
