"""systemd accepts the units, and they give the service no more rights than it needs."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.peers import require_peer

UNITS = Path(__file__).parents[2] / "deploy" / "systemd"
MOST_EXPOSED = 2.0
"""On systemd's scale, where 10 is a plain root service. What remains is the network and the ports below 1024."""


@pytest.fixture
def systemd_analyze() -> str:
    return str(require_peer("systemd-analyze"))


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units with programs that exist on this machine, because `verify` looks for them."""
    folder = tmp_path / "units"
    shutil.copytree(UNITS, folder)
    for unit in folder.iterdir():
        text = unit.read_text().replace("/opt/certedge/bin/certedge", sys.executable)
        unit.write_text(text.replace("/usr/bin/rsync", "/bin/true").replace("/bin/systemctl", "/bin/true"))
    # Instances of the templates, as an administrator enables them.
    for name in ("certedge-live@", "certedge-push@"):
        for kind in ("path", "service"):
            (folder / f"{name}demo.{kind}").write_text((folder / f"{name}.{kind}").read_text())
    (folder / "demo.service").write_text("[Service]\nExecStart=/bin/true\n")
    return folder


def verify(systemd_analyze: str, unit: Path) -> str:
    command = [systemd_analyze, "verify", "--man=no", "--recursive-errors=no", str(unit)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return run.stdout + run.stderr + (f"exit code {run.returncode}" if run.returncode else "")


@pytest.mark.parametrize(
    "name",
    [
        "certedge.service",
        "certedge.socket",
        "certedge-live@demo.path",
        "certedge-live@demo.service",
        "certedge-push@demo.path",
        "certedge-push@demo.service",
    ],
)
def test_systemd_finds_no_fault_in_a_unit(systemd_analyze: str, units: Path, name: str) -> None:
    assert verify(systemd_analyze, units / name) == ""


def test_a_misspelt_setting_is_a_fault(systemd_analyze: str, units: Path) -> None:
    unit = units / "certedge.service"
    unit.write_text(unit.read_text().replace("ProtectSystem=", "ProtectSystm="))
    assert "ProtectSystm" in verify(systemd_analyze, unit)


def test_service_is_confined_and_without_the_sandbox_it_would_not_be(systemd_analyze: str, units: Path) -> None:
    command = [systemd_analyze, "security", "--offline=true", "--no-pager", f"--threshold={MOST_EXPOSED * 10:.0f}"]
    unit = units / "certedge.service"
    assert subprocess.run([*command, str(unit)], capture_output=True, check=False, timeout=60).returncode == 0
    loose = unit.read_text().replace("ProtectSystem=strict\n", "").replace("NoNewPrivileges=yes\n", "")
    unit.write_text("".join(line for line in loose.splitlines(True) if not line.startswith("SystemCallFilter")))
    assert subprocess.run([*command, str(unit)], capture_output=True, check=False, timeout=60).returncode != 0


def test_only_capability_is_to_bind_low_ports() -> None:
    lines = (UNITS / "certedge.service").read_text().splitlines()
    assert [line for line in lines if "Capabilit" in line and not line.startswith("#")] == [
        "AmbientCapabilities=CAP_NET_BIND_SERVICE",
        "CapabilityBoundingSet=CAP_NET_BIND_SERVICE",
    ]
