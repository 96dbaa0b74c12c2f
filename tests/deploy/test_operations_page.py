"""deploy/operations tells the truth: its commands exist, its backup is restored, and logrotate accepts its settings."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from certstore.model.layout import Layout
from tests.certificates import CertificateAuthority
from tests.certstore.cli.command import certedge, write_edge
from tests.deploy.test_cluster_page import resolve
from tests.peers import require_peer

PAGE = (Path(__file__).parents[2] / "deploy/operations/README.md").read_text()
COMMANDS = [
    found.split() for found in re.findall(r"(?:^|`)certedge ([a-z][^`\n#]*)", PAGE, re.MULTILINE) if "=" not in found
]
HOST = "mail.edge.test"


def test_the_page_shows_commands() -> None:
    assert len(COMMANDS) >= 8


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_command_on_the_page_exists_with_its_options(words: list[str]) -> None:
    command, rest = resolve(words)
    assert not hasattr(command, "commands"), f"certedge {' '.join(words)} is not a command"
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in rest if word.startswith("--")} <= known


def tar(flags: str, root: Path, folder: Path) -> None:
    """The page's command with these flags, below another root, run in a folder."""
    (line,) = re.findall(rf"^tar -C / {flags} .*$", PAGE, re.MULTILINE)
    subprocess.run(["sh", "-ec", line.replace("-C /", f"-C {root}")], cwd=folder, check=True, timeout=60)


def test_the_backup_brings_sites_certificates_and_modes_to_another_machine(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    for root in (old, new):
        (root / "etc/certedge").mkdir(parents=True)
    write_edge(old / "var/lib/certedge", {}, HOST)
    settings = old / "var/lib/certedge/edge.yaml"
    settings.rename(old / "etc/certedge/edge.yaml")
    (old / "etc/certedge/edge.yaml").write_text("store: ../../var/lib/certedge/store\n")
    (tmp_path / "a.pem").write_bytes(CertificateAuthority().issue("a.test").combined_pem)
    config = old / "etc/certedge"
    assert certedge(config, "site", "add", "a.test", "--certificate", "file").code == 0
    installed = certedge(config, "cert", "install", "a.test", "--pem", tmp_path / "a.pem")
    assert installed.code == 0, installed.err
    before = certedge(config, "cert", "history", "a.test", "--json").json
    tar("-cpf", old, tmp_path)
    shutil.rmtree(old)
    tar("-xpf", new, tmp_path)
    config = new / "etc/certedge"
    assert certedge(config, "check-config").code == 0
    assert certedge(config, "cert", "history", "a.test", "--json").json == before
    assert "a.test" in certedge(config, "status").out
    layout = Layout(new / "var/lib/certedge/store")
    assert (layout.live("a.test") / "privkey.pem").stat().st_mode & 0o077 == 0


@pytest.mark.peer
def test_logrotate_accepts_the_settings_on_the_page(tmp_path: Path) -> None:
    (text,) = re.findall(r"```\n(/var/log/certedge.*?)```", PAGE, re.DOTALL)
    path = tmp_path / "certedge"
    path.write_text(text)
    path.chmod(0o644)
    ran = subprocess.run(
        [str(require_peer("logrotate")), "--debug", "--state", str(tmp_path / "state"), str(path)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert "error" not in ran.stderr
