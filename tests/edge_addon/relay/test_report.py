"""How a request's line in the access log shows fields with more than ASCII."""

import json
from pathlib import Path

import pytest

from tests.edge_addon.relay.edge import relay_edge
from tests.loops import in_loop
from tests.peers.recorder import Recorder, answering, ok


@pytest.mark.parametrize(
    ("style", "agent", "said"),
    [
        ("json", "Bücher/1".encode(), "Bücher/1"),
        ("json", b"B\xfccher/1", "Bücher/1"),
        ("combined", "Bücher/1".encode(), r'"B\xc3\xbccher/1"'),
    ],
    ids=["UTF-8", "no UTF-8", "combined shows the bytes that came"],
)
@in_loop
async def test_user_agent_is_logged_as_it_was_meant(style: str, agent: bytes, said: str, tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    with Recorder(answering(ok())) as recorder:
        async with relay_edge(tmp_path, recorder.url, access_log={"path": str(log), "format": style}) as edge:
            await edge.send(
                b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nUser-Agent: " + agent + b"\r\n\r\n"
            )
            edge.plane.access_log.flush()
    (line,) = log.read_text().splitlines()
    if style == "json":
        assert json.loads(line)["user_agent"] == said
    else:
        assert said in line
