"""Addons that edge.yaml names, under `certedge run`."""

import asyncio
import http.client
import re
import socket
import ssl
from pathlib import Path

import pytest

from tests.certificates import CertificateAuthority, Issued
from tests.deadlines import wait_for
from tests.peers.recorder import Connection, Recorder, answering, ok
from tests.running import RunningEdge, Site, running_edge

CA = CertificateAuthority()
README = Path(__file__).parents[3] / "README.md"
SITES: dict[str, Issued | Site] = {"a.test": Site(CA.issue("a.test"), {"inspect": True}), "b.test": CA.issue("b.test")}


def fetch(edge: RunningEdge, name: str, target: str = "/", method: str = "GET") -> http.client.HTTPResponse:
    context = ssl.create_default_context(cadata=CA.root_pem.decode())
    plain = socket.create_connection(("127.0.0.1", edge.port("https")), timeout=60)
    connection = http.client.HTTPConnection(name)
    connection.sock = context.wrap_socket(plain, server_hostname=name)
    connection.request(method, target)
    response = connection.getresponse()
    response.read()
    connection.close()
    return response


def readme_script() -> str:
    """The Python block of the README's section on inspection."""
    text = README.read_text(encoding="utf-8")
    found = re.search(r"^## Inspect a site's traffic$.*?^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert found, "the README shows a script"
    return found[1]


async def slow(connection: Connection) -> None:
    while True:
        head = await connection.read_head()
        if b"Cmd=" in head.partition(b"\r\n")[0]:
            await asyncio.sleep(1.2)  # what the script calls slow
        await connection.write(ok())


def test_the_script_in_the_readme_does_what_it_says(tmp_path: Path) -> None:
    (tmp_path / "activesync.py").write_text(readme_script().replace("> 10", "> 1"))
    with Recorder(slow) as recorder:
        settings = {
            "listeners": [{"kind": "https"}],
            "upstream": recorder.url,
            "inspection": {"scripts": ["activesync.py"]},
        }
        with running_edge(tmp_path, settings, SITES) as edge:
            target = "/Microsoft-Server-ActiveSync?Cmd=Sync&User=anna&DeviceId=1"
            waiting = target.replace("Sync&", "Ping&")  # is meant to wait for mail
            assert fetch(edge, "a.test", waiting).status == 200
            assert fetch(edge, "a.test", target, "OPTIONS").headers["X-Served-By"] == "edge"
            assert fetch(edge, "a.test", "/other").headers["X-Served-By"] == "edge"
            assert fetch(edge, "b.test", target).headers["X-Served-By"] is None
            line = wait_for(lambda: re.search(r"slow ActiveSync: .*", edge.stderr), "the line in the log")
    assert line is not None
    assert "Cmd=Sync" in line[0]
    assert "anna" in line[0]
    assert edge.stderr.count("slow ActiveSync") == 1


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (None, "there is no script"),
        ("this is no Python\n", "did not load"),
        ("raise RuntimeError('no')\n", "did not load"),
        ("def load(loader):\n    loader.nothing()\n", "failed while it was loaded"),
    ],
    ids=["missing", "syntax", "raises", "a failing hook"],
)
def test_a_script_that_does_not_load_keeps_its_sites_shut_and_only_those(
    script: str | None, said: str, tmp_path: Path
) -> None:
    if script is not None:
        (tmp_path / "broken.py").write_text(script)
    with Recorder(answering(ok())) as recorder:
        settings = {
            "listeners": [{"kind": "https"}],
            "upstream": recorder.url,
            "inspection": {"scripts": ["broken.py"]},
        }
        with running_edge(tmp_path, settings, SITES) as edge:
            assert fetch(edge, "a.test").status == 503
            assert fetch(edge, "b.test").status == 200
            assert said in edge.stderr
            (tmp_path / "broken.py").write_text("def responseheaders(flow):\n    flow.response.headers['X-A'] = '1'\n")
            edge.reload()
            wait_for(lambda: fetch(edge, "a.test").status == 200, "the mended script")
            assert fetch(edge, "a.test").headers["X-A"] == "1"
            # mitmproxy logs the script's fault with its traceback: that is wanted here.
            edge.log.write_text("")
