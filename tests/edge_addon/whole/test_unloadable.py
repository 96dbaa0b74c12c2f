"""A live version that no listener can load, as an older release could have left it: after a start every site serves the
version before it, and everything that is asked says so.
"""

import http.client
import json
import re
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from certstore.model.layout import Layout
from certstore.net.tls_engine import EngineName
from tests.certificates import CertificateAuthority, Issued
from tests.deadlines import wait_for
from tests.odd_certificates import PSS, Odd, make
from tests.running import RunningEdge, running_edge, served_fingerprint, take_in_drops, write_site
from tests.tls_engines import engine_of

CA = CertificateAuthority()
LISTENERS = [{"kind": "https"}, {"kind": "imaps", "upstream": "127.0.0.1:1"}, {"kind": "health"}]


def spoil(store: Path, site: str, version: int) -> None:
    """An RSA-PSS certificate with the key written as a plain RSA key."""
    files = make(Odd(PSS))
    key = load_pem_private_key(files["privkey.pem"], None)
    folder = Layout(store).version(site, version)
    (folder / "fullchain.pem").write_bytes(files["fullchain.pem"])
    (folder / "privkey.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def put_live(store: Path, site: str, name: str, *, versions: int) -> Issued:
    """So many versions; returns the first."""
    issued = [CA.issue(name) for _ in range(versions)]
    for each in issued:
        write_site(store, site, each)
        take_in_drops(store, [site])
    return issued[0]


class Asking:
    def __init__(self, edge: RunningEdge) -> None:
        self.edge = edge
        found = wait_for(lambda: re.search(r"console is on https://127\.0\.0\.1:(\d+)", edge.stderr), "the console")
        assert found is not None
        self.console = int(found[1])
        self.token = json.loads(self.run("admin", "token", "add", "t", "--scope", "read"))["token"]

    def run(self, *words: str) -> str:
        command = [sys.executable, "-m", "edge_addon.cli", *words, "--json", "--config", str(self.edge.config)]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    def status(self) -> dict[str, set[str]]:
        sites: list[dict[str, Any]] = json.loads(self.run("status"))["sites"]
        return {each["site"]: {problem["code"] for problem in each["problems"]} for each in sites}

    def get(self, path: str) -> tuple[int, str]:
        context = ssl._create_unverified_context()
        return self._get(http.client.HTTPSConnection("127.0.0.1", self.console, timeout=60, context=context), path)

    def health(self) -> tuple[int, str]:
        return self._get(http.client.HTTPConnection("127.0.0.1", self.edge.port("health"), timeout=60), "/")

    def _get(self, connection: http.client.HTTPConnection, path: str) -> tuple[int, str]:
        connection.request("GET", path, headers={"Authorization": f"Bearer {self.token}"})
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, text


def remove_drop(store: Path, site: str) -> None:
    for name in ("fullchain.pem", "privkey.pem"):
        (Layout(store).drop_folder(site) / name).unlink()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.mark.parametrize(
    ("engine", "reason"), [(EngineName.SSL, "no certificate assigned"), (EngineName.OPENSSL, "key type mismatch")]
)
def test_every_site_serves_the_version_before_it_and_everything_says_so(
    tmp_path: Path, store: Path, engine: EngineName, reason: str
) -> None:
    main = put_live(store, "main", "edge.test", versions=2)
    one = put_live(store, "a.test", "a.test", versions=2)
    put_live(store, "b.test", "b.test", versions=1)
    for site, version in (("main", 2), ("a.test", 2), ("b.test", 1)):
        spoil(store, site, version)
        remove_drop(store, site)  # which would put it right
    with engine_of(engine), running_edge(tmp_path, {"listeners": LISTENERS}) as edge:
        assert "version 2 of main, which is live, can't be loaded" in edge.stderr, "before any client came"
        for name in ("edge.test", "unknown.test", None):
            assert edge.fingerprint("https", name) == main.fingerprint
        assert edge.fingerprint("imaps", "a.test") == main.fingerprint
        assert edge.fingerprint("https", "a.test") == one.fingerprint
        assert edge.fingerprint("https", "b.test") == main.fingerprint, "there is no version before it"

        ask = Asking(edge)
        assert served_fingerprint(ask.console, None) == main.fingerprint
        code, text = ask.health()
        assert code == 200
        instead = "version 1 is served in its place"
        line = f"version 2 of main, which is live, can't be loaded ({reason}): {instead}"
        assert text.splitlines()[:2] == ["serving", line]
        assert "version 1 of b.test" in text
        lost = {site: {"live_unloadable"} for site in ("main", "a.test", "b.test")}
        wait_for(lambda: all(lost[site] <= codes for site, codes in ask.status().items()), "the problem of each site")
        wait_for(lambda: "b.test" in ask.get("/readyz")[1], "the worker's report")
        code, text = ask.get("/readyz")
        assert (code, [each["code"] for each in json.loads(text)["problems"]]) == (503, ["live_unloadable"])
        page = ask.get("/metrics")[1]
        assert "certedge_unloadable_certificates 3.0\n" in page
        assert 'certedge_site_problems{code="live_unloadable"} 3.0\n' in page
        (worker,) = json.loads(ask.get("/api/v1/service")[1])["workers"]
        assert [each.split(",")[0] for each in worker["unloadable"]] == [
            "version 2 of main",
            "version 2 of a.test",
            "version 1 of b.test",
        ]

        fresh = {site: CA.issue(name) for site, name in (("main", "edge.test"), ("b.test", "b.test"))}
        for site, issued in fresh.items():
            pem = tmp_path / f"{site}.new"
            pem.write_bytes(issued.combined_pem)
            ask.run("cert", "install", site, "--pem", str(pem))
        ask.run("cert", "rollback", "a.test")
        wait_for(lambda: edge.fingerprint("https", "b.test") == fresh["b.test"].fingerprint, "the new one")
        assert edge.fingerprint("https", None) == fresh["main"].fingerprint
        assert edge.fingerprint("https", "a.test") == one.fingerprint
        assert ask.health() == (200, "serving\n")
        wait_for(lambda: ask.get("/readyz")[0] == 200, "a service that is ready")
        assert not any("live_unloadable" in codes for codes in ask.status().values())


@pytest.mark.parametrize("has_drop", [True, False], ids=["its drop can be served now", "its drop is gone"])
def test_a_main_site_without_another_version_is_never_without_a_certificate(
    tmp_path: Path, store: Path, has_drop: bool
) -> None:
    issued = put_live(store, "main", "edge.test", versions=1)
    spoil(store, "main", 1)
    if not has_drop:
        remove_drop(store, "main")
    with running_edge(tmp_path, {"listeners": LISTENERS}) as edge:
        ask = Asking(edge)
        wait_for(lambda: ask.health() == (200, "serving\n"), "a main certificate")
        served = edge.fingerprint("imaps", None)
        assert served == edge.fingerprint("https", "unknown.test") == served_fingerprint(ask.console, None)
        codes = ask.status()["main"]
        if has_drop:
            assert served == issued.fingerprint
            assert codes <= {"missing_intermediate"}
        else:
            assert {"self_signed", "live_unusable"} <= codes
