"""The deploy hook, run with certbot's environment on a real store."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.certificates import CertificateAuthority, Issued

HOOK = Path(__file__).parents[2] / "deploy" / "certbot" / "certedge-hook"
CERTEDGE = Path(sys.executable).with_name("certedge")
HOST = "webmail.client-a.test"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    edge_yaml = tmp_path / "edge.yaml"
    run_certedge(edge_yaml, "init", "--host", "mail.example.test", "--dir", str(tmp_path))
    run_certedge(edge_yaml, "site", "add", HOST)
    return edge_yaml


@pytest.fixture
def issued() -> Issued:
    return CertificateAuthority().issue(HOST)


def run_certedge(config: Path, *args: str) -> str:
    command = [str(CERTEDGE), "--config", str(config), *args]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def run_hook(config: Path, lineage: Path | None) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": os.environ["PATH"],
        "CERTEDGE": str(CERTEDGE),
        "CERTEDGE_CONFIG": str(config),
        "CERTEDGE_SITES": str(config.with_name("certbot-sites")),
    }
    if lineage is not None:
        environment |= {"RENEWED_LINEAGE": str(lineage), "RENEWED_DOMAINS": HOST}
    return subprocess.run([str(HOOK)], env=environment, capture_output=True, text=True, check=False, timeout=60)


def make_lineage(folder: Path, issued: Issued) -> Path:
    """A lineage as certbot leaves it: numbered files in archive, links in live, readable only by the owner."""
    archive, live = folder / "archive", folder / "live" / folder.name
    archive.mkdir(parents=True)
    live.mkdir(parents=True)
    for name, content in (("privkey", issued.privkey_pem), ("fullchain", issued.fullchain_pem)):
        (archive / f"{name}1.pem").write_bytes(content)
        (archive / f"{name}1.pem").chmod(0o600)
        (live / f"{name}.pem").symlink_to(archive / f"{name}1.pem")
    return live


def live_fingerprint(config: Path) -> str | None:
    facts = json.loads(run_certedge(config, "explain", HOST, "--json"))
    return str(facts["fingerprint"]) if facts["certificate"] == HOST else None


def test_certificate_goes_to_the_site_of_the_lineages_name(config: Path, issued: Issued, tmp_path: Path) -> None:
    run = run_hook(config, make_lineage(tmp_path / HOST, issued))
    assert run.returncode == 0, run.stderr
    assert live_fingerprint(config) == issued.fingerprint


def test_certificate_goes_to_the_site_that_the_list_names(config: Path, issued: Issued, tmp_path: Path) -> None:
    config.with_name("certbot-sites").write_text(f"other-lineage main\nlineage-0001 {HOST}\n")
    run = run_hook(config, make_lineage(tmp_path / "lineage-0001", issued))
    assert run.returncode == 0, run.stderr
    assert live_fingerprint(config) == issued.fingerprint


def test_refused_certificate_makes_the_hook_fail_and_say_why(config: Path, tmp_path: Path) -> None:
    lineage = make_lineage(tmp_path / HOST, CertificateAuthority().issue("webmail.client-b.test"))
    run = run_hook(config, lineage)
    assert run.returncode == 1
    assert "webmail.client-b.test" in run.stderr
    assert live_fingerprint(config) is None


def test_hook_does_nothing_without_certbots_environment(config: Path) -> None:
    run = run_hook(config, None)
    assert run.returncode != 0
    assert "RENEWED_LINEAGE" in run.stderr
