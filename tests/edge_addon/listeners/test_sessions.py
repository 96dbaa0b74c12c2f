"""The answer to a client above the connection limits, by the kind of its listener."""

from pathlib import Path

import pytest

from certstore.model.settings.models import ListenerSettings
from edge_addon.listeners.sessions import busy_answer
from tests.edge_addon.relay.edge import relay_edge
from tests.loops import in_loop


@pytest.mark.parametrize(
    ("kind", "begins"),
    [
        ("http", b"HTTP/1.1 503 Service Unavailable\r\n"),
        ("imap", b"* BYE "),
        ("pop3", b"-ERR "),
        ("submission", b"421 "),
        ("sieve", b"BYE "),
        ("https", b""),
        ("imaps", b""),
        ("health", b""),
    ],
)
@in_loop
async def test_a_client_above_the_limit_gets_an_answer_where_no_tls_comes_first(
    kind: str, begins: bytes, tmp_path: Path
) -> None:
    upstream = {"upstream": "127.0.0.1:9"} if kind in {"imap", "pop3", "submission", "sieve", "imaps"} else {}
    listener = ListenerSettings.model_validate({"kind": kind, "listen": "127.0.0.1:0", **upstream})
    async with relay_edge(tmp_path, "http://127.0.0.1:9") as edge:
        answer = busy_answer(edge.plane, listener)
    assert answer[: len(begins)] == begins
    assert bool(answer) == bool(begins)
