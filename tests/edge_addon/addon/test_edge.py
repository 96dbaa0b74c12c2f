"""How the addon starts in mitmproxy's programs, and what ends them."""

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deadlines import wait_for
from tests.edge_addon.addon.mitmproxy import (
    CA,
    HTTPS,
    LISTENERS,
    OUR_TRACEBACK,
    Mitmproxy,
    is_served,
    mitmproxy_with_edge,
)
from tests.ports import listening_socket
from tests.running import drop_certificate


def test_without_n_it_warns_and_lets_nobody_through_the_forward_proxy(tmp_path: Path) -> None:
    with listening_socket() as probe:
        port = probe.getsockname()[1]
    with mitmproxy_with_edge(tmp_path, "--listen-host", "127.0.0.1", "--listen-port", str(port)) as running:
        running.address("certificate edge", HTTPS)
        assert f"forward proxy on port {port}" in running.output
        wait_for(lambda: f"HTTP(S) proxy at 127.0.0.1:{port} stopped." in running.output, "the forward proxy closed")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        pytest.param({"listeners": [{"kind": "gopher", "listen": "127.0.0.1:0"}]}, "listeners[0].kind", id="bad value"),
        pytest.param({"store": "/dev/null/store"}, "does not start", id="no store"),
    ],
)
def test_settings_that_can_not_be_served_end_mitmproxy(
    tmp_path: Path, settings: Mapping[str, Any], message: str
) -> None:
    (tmp_path / "edge.yaml").write_text(yaml.safe_dump({"listeners": LISTENERS, **settings}))
    running = Mitmproxy(tmp_path, "mitmdump", ("-n",))
    try:
        assert running.process.wait(60) == 1
        assert message in running.output
        assert not OUR_TRACEBACK.search(running.output)
    finally:
        running.process.kill()
        running.process.wait()


def test_without_the_option_the_log_says_what_is_missing(tmp_path: Path) -> None:
    running = Mitmproxy(tmp_path, "mitmdump", ("-n",), is_configured=False)
    try:
        assert running.process.wait(60) == 1
        assert "--set edge_config=edge.yaml" in running.output
    finally:
        running.process.kill()
        running.process.wait()


@pytest.mark.parametrize("mode", [None, "reverse"])
def test_a_script_that_mitmproxy_reloads_serves_again(tmp_path: Path, upstream: str, mode: str | None) -> None:
    old, new = CA.issue("client-a.test"), CA.issue("client-a.test")
    with listening_socket() as probe:
        port = probe.getsockname()[1]
    settings = {"listeners": [{"kind": "https", "listen": f"127.0.0.1:{port}"}]}
    arguments = ("--mode", f"reverse:http://{upstream}@127.0.0.1:{port}") if mode else ("-n",)
    with mitmproxy_with_edge(tmp_path, *arguments, settings=settings, sites={"client-a.test": old}) as running:
        address = running.address("reverse proxy" if mode else "certificate edge")
        assert is_served(address, "client-a.test", old)
        began = running.output.count("alone in one process")
        running.entry.touch()
        wait_for(lambda: running.output.count("alone in one process") > began, "a reload of the script")

        def is_new_served() -> bool:
            try:
                return is_served(address, "client-a.test", new)
            except ConnectionRefusedError:
                return False

        drop_certificate(running.store, "client-a.test", new)
        wait_for(is_new_served, "the new certificate")
