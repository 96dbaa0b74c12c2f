"""The Debian package under a booted Debian 13: install, serve, upgrade and downgrade under load, remove, purge."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deadlines import wait_for
from tests.peers import MISSING_PEER, do_without
from tests.peers.booted_systemd import Machine, booted_systemd
from tests.peers.debian_tree import debian_tree

ROOT = Path(__file__).parents[2]
BASE = ("systemd-sysv", "dbus", "python3", "adduser", "openssl", "ca-certificates", "logrotate")
OLD, NEW = "0.1.0", "0.1.0-2"
STORE = "var/lib/certedge/store"

_CROWD = """
import json, socket, ssl, sys, threading
context = ssl._create_unverified_context()
request = f"GET / HTTP/1.1\\r\\nHost: {sys.argv[1]}\\r\\nConnection: close\\r\\n\\r\\n".encode()
stop, answers, failures = threading.Event(), [], []
def keep_asking():
    while not stop.is_set():
        try:
            with socket.create_connection(("127.0.0.1", 443), timeout=120) as plain:
                with context.wrap_socket(plain, server_hostname=sys.argv[1]) as secure:
                    secure.sendall(request)
                    answer = b"".join(iter(lambda: secure.recv(65536), b""))
            (answers if answer.startswith(b"HTTP/1.1 200") else failures).append(repr(answer[:80]))
        except OSError as error:
            failures.append(repr(error))
crowd = [threading.Thread(target=keep_asking) for _ in range(2)]
for each in crowd:
    each.start()
sys.stdin.readline()
stop.set()
for each in crowd:
    each.join()
print(json.dumps([len(answers), failures]))
"""


def build(folder: Path, version: str, *words: str) -> Path:
    ran = subprocess.run(
        [str(ROOT / "deploy" / "build-deb"), "--version", version, "--output", str(folder), *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    if ran.returncode != 0 and "Could not find a version" in ran.stderr:
        pytest.skip(f"{MISSING_PEER}a package index ({ran.stderr.strip()[-200:]!r})")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return Path(ran.stdout.strip())


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    if os.geteuid() != 0:
        do_without("a booted systemd (run the tests as root)")
    tree = debian_tree("trixie", BASE)
    built = tmp_path_factory.mktemp("built")
    packages = {version: build(built, version) for version in (OLD, NEW)}
    with booted_systemd(tmp_path_factory.mktemp("machine"), tree) as machine:
        for version, package in packages.items():
            (machine.root / f"var/tmp/{version}.deb").write_bytes(package.read_bytes())
        yield machine


def dpkg(machine: Machine, *words: str) -> str:
    inside = ["nsenter", "--target", str(machine.pid), "--all", "dpkg", *words]
    # More than `Machine.run` allows: the postinst compiles all modules.
    ran = subprocess.run(inside, capture_output=True, text=True, check=False, timeout=280)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr


def supervisor(machine: Machine) -> tuple[str, str]:
    """Its pid and the release that it runs."""
    pid = machine.run("systemctl", "show", "--property=MainPID", "--value", "certedge").strip()
    words = machine.run("cat", f"/proc/{pid}/cmdline").split("\0")
    return pid, words[0].removeprefix("/usr/lib/certedge/").removesuffix("/bin/python")


@contextlib.contextmanager
def upstream(machine: Machine) -> Iterator[None]:
    inside = ["nsenter", "--target", str(machine.pid), "--net", sys.executable, "-m", "http.server", "8080"]
    with subprocess.Popen(
        inside, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=machine.root / "srv"
    ) as web:
        try:
            yield
        finally:
            web.kill()


def replaced_under_load(machine: Machine, version: str) -> None:
    """Install this version while clients ask; none may be refused or get less than a whole answer."""
    pid, before = supervisor(machine)
    assert before != version
    inside = ["nsenter", "--target", str(machine.pid), "--net", sys.executable, "-c", _CROWD, host(machine)]
    with subprocess.Popen(inside, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as crowd:
        try:
            said = dpkg(machine, "--install", f"/var/tmp/{version}.deb")
            wait_for(lambda: supervisor(machine) == (pid, version), f"{version} in the same process: {said}")
            wait_for(lambda: releases(machine) == {version}, "the end of the old workers", seconds=120, pause=0.5)
        finally:
            out, _ = crowd.communicate("\n", timeout=180)
    count, failures = json.loads(out)
    assert failures == [], (count, machine.journal("certedge"))
    assert count > 10


def releases(machine: Machine) -> set[str]:
    """Those that any process in the machine runs."""
    words = machine.run("sh", "-c", "cat /proc/[0-9]*/cmdline 2>/dev/null; true").split("\0")
    return {each.split("/")[4] for each in words if each.startswith("/usr/lib/certedge/") and each.endswith("/python")}


def host(machine: Machine) -> str:
    lines = (machine.root / STORE / "main" / "site.yaml").read_text().splitlines()
    return next(line for line in lines if line.startswith("host:")).split()[1]


def test_it_installs_serves_is_replaced_under_load_and_leaves_the_store(machine: Machine) -> None:
    said = dpkg(machine, "--install", f"/var/tmp/{OLD}.deb")
    assert "systemctl enable --now certedge" in said
    assert machine.run("stat", "--format=%U", "/" + STORE).strip() == "certedge"
    for path in ("usr/share/man/man1/certedge.1.gz", "usr/share/bash-completion/completions/certedge"):
        assert (machine.root / path).exists(), path
    machine.run("logrotate", "--debug", "/etc/logrotate.d/certedge")
    machine.run("certedge", "check-config")
    settings = (machine.root / "etc/certedge/edge.yaml").read_text()

    with upstream(machine):
        machine.run("systemctl", "enable", "--now", "certedge")
        assert supervisor(machine)[1] == OLD
        shown = machine.run("sh", "-c", "openssl s_client -connect 127.0.0.1:443 </dev/null 2>/dev/null | head -n 40")
        assert host(machine) in shown
        machine.put("etc/certedge/edge.yaml", settings + "# mine\n")
        replaced_under_load(machine, NEW)
        replaced_under_load(machine, OLD)
    assert (machine.root / "etc/certedge/edge.yaml").read_text().endswith("# mine\n")

    dpkg(machine, "--remove", "certedge")
    assert not (machine.root / "usr/lib/certedge").exists()
    state = machine.run("sh", "-c", "systemctl is-active certedge || true").strip()
    assert state == "inactive"
    assert (machine.root / "etc/certedge/edge.yaml").exists()
    said = dpkg(machine, "--purge", "certedge")
    assert "/var/lib/certedge, with certificates and private keys" in said
    assert not (machine.root / "etc/certedge").exists()
    assert (machine.root / STORE / "main" / "site.yaml").exists()


def test_it_installs_again_after_a_purge_with_any_host_name_and_after_an_interruption(machine: Machine) -> None:
    edge_yaml, site_yaml = machine.root / "etc/certedge/edge.yaml", machine.root / STORE / "main" / "site.yaml"
    dpkg(machine, "--install", f"/var/tmp/{OLD}.deb")
    dpkg(machine, "--purge", "certedge")
    site = site_yaml.read_text()

    # What an installation that was killed may leave, a release that still runs, and one that nothing needs.
    releases = "/usr/lib/certedge"
    for each in "killed", "running":
        machine.run("mkdir", "-p", f"{releases}/{each}")
    machine.run("ln", "-s", "killed", f"{releases}/.link")
    running = f"exec -a {releases}/running/bin/python sleep 600 >/dev/null 2>&1 & echo $!"
    pid = machine.run("bash", "-c", running).strip()
    name = machine.run("hostname").strip()
    machine.run("python3", "-c", "import socket; socket.sethostname('not_a_name')")  # the command would refuse it
    said = dpkg(machine, "--install", f"/var/tmp/{OLD}.deb")
    assert "certedge init --sample one-server --host NAME" in said
    assert not edge_yaml.exists()
    assert machine.run("readlink", f"{releases}/current").strip() == OLD
    assert set(machine.run("ls", "-A", releases).split()) == {OLD, "current", "package", "running"}

    machine.run("bash", "-c", f"kill {pid}")
    machine.run("hostname", name)
    dpkg(machine, "--install", f"/var/tmp/{NEW}.deb")
    assert set(machine.run("ls", "-A", releases).split()) == {OLD, NEW, "current", "package"}
    machine.run("certedge", "check-config")
    assert f"store: {'/' + STORE}" in edge_yaml.read_text().replace('"', "")
    assert site_yaml.read_text() == site
    dpkg(machine, "--purge", "certedge")


@pytest.mark.parametrize("words", [["--python", "3.11"], ["--output"], ["--colour", "red"]])
def test_wrong_usage_is_named(words: list[str], tmp_path: Path) -> None:
    program = [str(ROOT / "deploy" / "build-deb"), *words]
    ran = subprocess.run(program, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert ran.returncode == 2
    assert ran.stderr.startswith("deploy/build-deb: ")
    assert not list(tmp_path.iterdir())
