import os
import pwd
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

from certstore.cli.init import settings_text
from certstore.cli.samples import SAMPLES
from certstore.model.settings.loading import parse_settings
from certstore.model.settings.models import ListenerKind, ListenerSettings
from tests.certstore.cli.command import REPOSITORY, certedge, on_terminal
from tests.deadlines import wait_for
from tests.ports import free_port


def init(folder: Path, *words: str) -> tuple[int, str]:
    ran = certedge(folder, "init", *words, config=False)
    return ran.code, ran.out + ran.err


def test_first_settings_are_accepted_and_the_store_starts_with_the_main_host(tmp_path: Path) -> None:
    code, out = init(tmp_path, "--host", "Mail.Edge.Test.")
    assert code == 0
    assert "certedge check-config" in out
    assert yaml.safe_load((tmp_path / "store/main/site.yaml").read_text()) == {"host": "mail.edge.test"}
    checked = certedge(tmp_path, "check-config")
    assert checked.code == 0, checked.err
    assert certedge(tmp_path, "site", "add", "a.test").code == 0


def test_the_examples_that_are_commented_out_are_right_too() -> None:
    """Without the comment signs the settings are accepted, and have a listener of every kind."""
    uncommented = re.sub(r"^( *)# (?=- \{|[a-z_]+: )", r"\1", settings_text(), flags=re.MULTILINE)
    settings = parse_settings(uncommented, "edge.yaml")
    assert {listener.kind for listener in settings.listeners} == set(ListenerKind)
    assert settings.http.hsts == "max-age=31536000"
    assert settings.keys_group == "ssl-cert"


@pytest.mark.parametrize("there", ["edge.yaml", "store/main/site.yaml"])
def test_nothing_is_overwritten(tmp_path: Path, there: str) -> None:
    (tmp_path / there).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / there).write_text("mine")
    code, said = init(tmp_path, "--host", "mail.edge.test")
    assert code == 1
    assert f"{there} exists already" in said
    assert (tmp_path / there).read_text() == "mine"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / there]


@pytest.mark.parametrize("host", ["*.edge.test", "no host", "192.0.2.1", ""])
def test_an_invalid_host_name_is_wrong_usage(tmp_path: Path, host: str) -> None:
    assert init(tmp_path, "--host", host)[0] == 2
    assert list(tmp_path.iterdir()) == []


def test_another_folder_is_created_when_named(tmp_path: Path) -> None:
    assert init(tmp_path, "--host", "mail.edge.test", "--dir", "etc/certedge")[0] == 0
    assert (tmp_path / "etc/certedge/edge.yaml").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give files away")
def test_the_store_can_belong_to_the_services_user(tmp_path: Path) -> None:
    assert init(tmp_path, "--host", "mail.edge.test", "--owner", "nobody")[0] == 0
    uid = pwd.getpwnam("nobody").pw_uid
    assert {path.stat().st_uid for path in (tmp_path / "store", *(tmp_path / "store").rglob("*"))} == {uid}
    assert init(tmp_path, "--host", "mail.edge.test", "--dir", "other", "--owner", "no-such-user")[0] == 2


DEPLOY = Path(__file__).parents[3] / "deploy"


def listeners_of(path: Path) -> set[tuple[Any, ...]]:
    """Without the addresses, which the samples of deploy/ have once per family."""

    def facts(each: ListenerSettings) -> tuple[Any, ...]:
        return (each.kind, each.listen.port, each.proxy_protocol, each.accept_proxy_protocol, each.upstream)

    return {facts(each) for each in parse_settings(path.read_text(), str(path)).listeners}


@pytest.mark.parametrize("sample", SAMPLES)
def test_sample_is_accepted_and_is_that_of_its_page(tmp_path: Path, sample: str) -> None:
    code, said = init(tmp_path, "--sample", sample, "--host", "mail.edge.test")
    assert code == 0, said
    checked = certedge(tmp_path, "check-config")
    assert (checked.code, "note" in checked.out) == (0, False), checked.out
    assert yaml.safe_load((tmp_path / "store/main/site.yaml").read_text()) == {"host": "mail.edge.test"}
    ours, theirs = listeners_of(tmp_path / "edge.yaml"), listeners_of(DEPLOY / sample / "edge.yaml")
    if sample == "behind-balancer":
        theirs = {each for each in theirs if not each[0].is_mail and each[0] is not ListenerKind.HEALTH}
        ours = {each for each in ours if each[0] is not ListenerKind.HEALTH}
    assert ours == theirs


@pytest.mark.parametrize("sample", SAMPLES)
def test_the_directory_runs(tmp_path: Path, sample: str) -> None:
    assert init(tmp_path, "--sample", sample, "--host", "mail.edge.test")[0] == 0
    path, ports = tmp_path / "edge.yaml", {}

    def elsewhere(found: re.Match[str]) -> str:
        ports[int(found[2])] = port = free_port()
        return f'listen: "127.0.0.1:{port}"'

    # Its ports need root, and belong to this machine's own servers.
    text = re.sub(r'listen: "([^"]*):(\d+)"', elsewhere, path.read_text())
    path.write_text(text + "admin: {listen: '127.0.0.1:0'}\nworkers: 1\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "edge_addon.cli", "run"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def answers() -> bool:
        assert process.poll() is None, "the service ended"
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{ports[8081]}/", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    try:
        wait_for(answers, "the health listener says 200", seconds=120)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()


def test_on_a_terminal_it_asks_for_what_was_not_given(tmp_path: Path) -> None:
    typed = b"mail.edge.test\nbehind-balancer\nhttp://10.0.0.1:80 http://10.0.0.2:80\n10.0.0.9 10.0.0.10\n"
    ran = on_terminal(tmp_path, typed, "init")
    assert ran.code == 0, ran.out
    settings = parse_settings((tmp_path / "edge.yaml").read_text(), "edge.yaml")
    assert [each.url for each in settings.upstream] == ["http://10.0.0.1:80", "http://10.0.0.2:80"]
    assert [str(each) for each in settings.trusted_proxies] == ["10.0.0.9/32", "10.0.0.10/32"]
    for words in ("Host name of the main site", "one-server", "Addresses of the balancer"):
        assert words in ran.out


def test_store_may_be_elsewhere(tmp_path: Path) -> None:
    words = ("--sample", "one-server", "--host", "mail.edge.test", "--dir", "etc", "--store", "var/store")
    assert init(tmp_path, *words, "--upstream", "http://10.0.0.1:80")[0] == 0
    settings = parse_settings((tmp_path / "etc/edge.yaml").read_text(), "edge.yaml")
    assert settings.store == tmp_path / "var/store"
    assert (tmp_path / "var/store/main/site.yaml").is_file()
    assert not (tmp_path / "etc/store").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--sample", "two-servers", "--host", "a.test"), "allowed: one-server, mail-server, behind-balancer"),
        (("--sample", "one-server"), "no host name was given"),
        (("--sample", "one-server", "--host", "a.test", "--upstream", "ftp://x"), "ftp://x"),
        (("--host", "a.test", "--balancer", "192.0.2.1"), "add --sample"),
    ],
)
def test_wrong_usage_writes_nothing(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    code, out = init(tmp_path, *words)
    assert code == 2
    assert said in out
    assert list(tmp_path.iterdir()) == []


def test_no_page_deletes_what_it_wrote() -> None:
    pages = [*DEPLOY.rglob("*.md"), DEPLOY.parent / "README.md"]
    lines = [(str(page), line) for page in pages for line in page.read_text().splitlines()]
    assert [each for each in lines if re.match(r"\s*rm ", each[1])] == []
