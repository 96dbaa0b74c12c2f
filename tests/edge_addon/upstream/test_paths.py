"""No link that was put there later leads an upstream into the store."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from certstore.model.settings.models import Upstream
from edge_addon.upstream.paths import opened
from tests.edge_addon.relay.edge import CA, entry, relay_edge
from tests.edge_addon.upstream.test_pool import server_tls
from tests.loops import in_loop
from tests.peers.recorder import Recorder, answering, ok

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"


def test_what_was_opened_is_what_is_read(tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    (store / "key.pem").write_text("secret")
    path = tmp_path / "mine.pem"
    path.write_text("mine")
    with opened(path, os.O_RDONLY, store) as held:
        path.unlink()
        path.symlink_to(store / "key.pem")
        assert Path(held).read_text() == "mine"
    with pytest.raises(PermissionError, match="lies in the store"), opened(path, os.O_RDONLY, store):
        pass
    with opened(path, os.O_RDONLY, None) as held:
        assert Path(held).read_text() == "secret"


@pytest.mark.parametrize("kind", ["socket", "client certificate"])
@in_loop
async def test_a_link_into_the_store_that_came_later_is_not_followed(kind: str, tmp_path: Path) -> None:
    """What the operator wrote into edge.yaml is the operator's word."""
    store, link = tmp_path / "store", tmp_path / "link"
    store.mkdir()
    target = store / ("control.sock" if kind == "socket" else "mine.pem")
    link.symlink_to(target)
    if kind == "socket":
        recorder, facts = Recorder(answering(ok()), unix=target), {"url": f"unix:{link}"}
    else:
        (tmp_path / "ca.pem").write_bytes(CA.root_pem)
        target.write_bytes(CA.issue("edge.test", extended_key_usage=None).combined_pem)
        recorder = Recorder(answering(ok()), tls=server_tls(tmp_path, CA, "localhost", ask=True))
        facts = {"ca_file": "ca.pem", "client_cert": str(link)}
    with recorder:
        facts = {"url": f"https://localhost:{recorder.port}"} | facts if kind != "socket" else facts
        site = replace(entry("a.test", "a.test"), upstreams=(Upstream.model_validate(facts),))
        async with relay_edge(tmp_path, "http://127.0.0.1:9", sites=[site]) as edge:
            assert (await edge.send(GET)).startswith(b"HTTP/1.1 502")
        assert recorder.connections == []
        async with relay_edge(tmp_path, [facts]) as edge:
            assert (await edge.send(GET)).endswith(b"ok")
