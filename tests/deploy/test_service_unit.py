"""Under a booted systemd, the service unit as it is installed: sockets for both families, reloads, the journal."""

from __future__ import annotations

import json
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.deadlines import wait_for
from tests.peers.booted_systemd import Machine, booted_systemd

REPOSITORY = Path(__file__).parents[2]
UNITS = REPOSITORY / "deploy" / "systemd"
CONFIG = "etc/certedge/edge.yaml"
LISTENERS = [{"kind": "http", "listen": "[::]:80"}, {"kind": "https", "listen": "[::]:443"}]
WITHOUT_CAPABILITY = "[Service]\nAmbientCapabilities=\nCapabilityBoundingSet=\n"
# Where the tests' interpreter lies only root may look, and the unit hides /root.
PROGRAM = f"""#!/bin/sh
export LD_LIBRARY_PATH=/opt/python/lib PYTHONPATH={REPOSITORY}:{sysconfig.get_path("purelib")}
exec /opt/python/bin/{Path(sys.executable).resolve().name} \
-m edge_addon.cli "$@"
"""
ASK = """
import socket, sys
for host in sys.argv[2:]:
    try:
        with socket.create_connection((host, int(sys.argv[1])), 20) as asked:
            asked.sendall(b"GET / HTTP/1.1\\r\\nHost: a.test\\r\\nConnection: close\\r\\n\\r\\n")
            print(host, asked.makefile("rb").readline().split()[1].decode())
    except OSError as error:
        print(host, error.strerror)
"""


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with booted_systemd(tmp_path) as machine:
        for name in "certedge.service", "certedge.socket":
            machine.put(f"etc/systemd/system/{name}", (UNITS / name).read_text())
        machine.put("opt/certedge/bin/certedge", PROGRAM).chmod(0o755)
        machine.run("mkdir", "-p", "/opt/python")
        machine.run("mount", "--bind", sys.base_prefix, "/opt/python")
        machine.run("useradd", "--system", "--home-dir", "/var/lib/certedge", "certedge")
        configure(machine, LISTENERS)
        machine.run("systemctl", "daemon-reload")
        yield machine


def configure(machine: Machine, listeners: list[dict[str, str]], **more: object) -> None:
    settings = {"store": "/var/lib/certedge/store", "workers": 1, "listeners": listeners, **more}
    machine.put(CONFIG, yaml.safe_dump(settings))


def answers(machine: Machine, port: int = 80) -> list[str]:
    return machine.run_here(sys.executable, "-I", "-c", ASK, str(port), "127.0.0.1", "::1").splitlines()


def status(machine: Machine) -> dict[str, object]:
    """What root is shown."""
    command = f"/opt/certedge/bin/certedge status --json --config /{CONFIG} || true"
    shown: dict[str, object] = json.loads(machine.run("sh", "-c", command))["service"]
    return shown


def start(machine: Machine, *units: str) -> None:
    machine.run("sh", "-c", f"systemctl start {' '.join(units)} || (journalctl -u certedge -o cat >&2; false)")


def test_sockets_of_systemd_serve_both_families_without_any_capability(machine: Machine) -> None:
    machine.put("etc/systemd/system/certedge.service.d/socket.conf", WITHOUT_CAPABILITY)
    machine.run("systemctl", "daemon-reload")
    start(machine, "certedge.socket", "certedge.service")
    assert answers(machine) == ["127.0.0.1 301", "::1 301"]
    assert status(machine)["problems"] == []


def test_socket_that_takes_ipv6_alone_is_completed_if_the_service_may_and_a_problem_if_not(machine: Machine) -> None:
    socket = (UNITS / "certedge.socket").read_text().replace("=80\n", "=[::]:80\n").replace("=443\n", "=[::]:443\n")
    machine.put("etc/systemd/system/certedge.socket", socket.replace("=both", "=ipv6-only"))
    machine.run("systemctl", "daemon-reload")
    start(machine, "certedge.socket", "certedge.service")
    assert answers(machine) == ["127.0.0.1 301", "::1 301"]
    assert status(machine)["problems"] == []
    machine.run("systemctl", "stop", "certedge.service")
    machine.put("etc/systemd/system/certedge.service.d/socket.conf", WITHOUT_CAPABILITY)
    machine.run("systemctl", "daemon-reload")
    start(machine, "certedge.service")
    assert answers(machine) == ["127.0.0.1 Connection refused", "::1 301"]
    problems = status(machine)["problems"]
    assert isinstance(problems, list)
    assert [each["code"] for each in problems] == ["listener_incomplete"] * 2
    assert "BindIPv6Only=both" in problems[0]["message"]


def test_reload_that_is_refused_fails_and_the_journal_knows_how_grave_it_is(machine: Machine) -> None:
    start(machine, "certedge.service")
    configure(machine, [*LISTENERS, {"kind": "http", "listen": "[::]:8080"}])
    machine.run("systemctl", "reload", "certedge")
    assert answers(machine, 8080) == ["127.0.0.1 301", "::1 301"]
    configure(machine, [*LISTENERS, {"kind": "http", "listen": "192.0.2.1:8080"}])
    refused = machine.run("sh", "-c", "systemctl reload certedge || echo failed")
    assert refused.endswith("failed\n")
    assert machine.run("systemctl", "is-active", "certedge").strip() == "active"
    assert answers(machine, 8080) == ["127.0.0.1 301", "::1 301"]
    machine.put(CONFIG, "store: /var/lib/certedge/store\nlisteners: [\n")
    assert machine.run("sh", "-c", "systemctl reload certedge || echo failed").endswith("failed\n")
    assert status(machine)["settings"] == "broken"

    def entries(priority: str) -> str:
        return machine.run("journalctl", "-u", "certedge", "-o", "cat", "-p", priority)

    wait_for(lambda: "keeping the previous settings" in entries("err"), "the refusal among the errors")
    assert "serving" not in entries("warning")
    assert "supervisor INFO serving" in entries("info")
