"""A machine of its own under its own systemd, with a copy of the files of this one or of another tree.

    with booted_systemd(folder) as machine:
        machine.put("etc/systemd/system/demo.service", "[Service]\\nExecStart=/bin/true\\n")
        machine.run("systemctl", "start", "demo")

Needs root and overlayfs. It has no network but loopback. Nothing of it is left at the end.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.deadlines import wait_for
from tests.peers import do_without, require_peer


@dataclass(frozen=True, slots=True)
class Machine:
    """`root` is its file system, as it looks from outside."""

    root: Path
    pid: int
    """Of its systemd, in the namespace of the tests."""

    def put(self, path: str, content: str) -> Path:
        """Write a file; `path` without a slash at the start."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_symlink():
            target.unlink()  # an absolute link would lead to a file of this machine
        target.write_text(content, encoding="utf-8")
        return target

    def run(self, *command: str) -> str:
        """Run a program inside and return what it prints."""
        inside = ["nsenter", "--target", str(self.pid), "--all", *command]
        run = subprocess.run(inside, capture_output=True, text=True, check=False, timeout=60)
        assert run.returncode == 0, f"{command}: {run.stdout}{run.stderr}"
        return run.stdout

    def run_here(self, *command: str) -> str:
        """Run a program of this machine in the network of that one, and return what it prints."""
        inside = ["nsenter", "--target", str(self.pid), "--net", *command]
        run = subprocess.run(inside, capture_output=True, text=True, check=False, timeout=60)
        assert run.returncode == 0, f"{command}: {run.stdout}{run.stderr}"
        return run.stdout

    def has_booted(self) -> bool:
        inside = ["nsenter", "--target", str(self.pid), "--all", "systemctl", "is-system-running"]
        state = subprocess.run(inside, capture_output=True, text=True, check=False, timeout=60).stdout.strip()
        assert state not in {"degraded", "maintenance"}, self.run("systemctl", "--failed", "--no-pager")
        return state == "running"

    def journal(self, unit: str) -> str:
        return self.run("journalctl", "--no-pager", "--output=cat", f"--unit={unit}")


@contextlib.contextmanager
def booted_systemd(folder: Path, tree: Path = Path("/")) -> Iterator[Machine]:
    """Boot up to basic.target; services start only when a test starts them."""
    nspawn = require_peer("systemd-nspawn")
    with _copied_root(folder, tree) as root:
        name = f"test-{secrets.token_hex(6)}"
        command = [
            str(nspawn), "--boot", f"--directory={root}", "--private-network", "--register=no", "--keep-unit",
            "--console=pipe", "--link-journal=no", f"--machine={name}", "--", "--unit=basic.target",
        ]  # fmt: skip
        log = (folder / "console.log").open("wb")
        with log, subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log) as started:
            booted: list[int] = []
            try:
                machine = Machine(root, _systemd_of(started, Path(log.name)))
                booted.append(machine.pid)
                # Asked again and again: `--wait` can miss the moment, and waits on.
                wait_for(machine.has_booted, "systemd to start all of basic.target", pause=0.1)
                yield machine
            finally:
                # Number 1 of the namespace takes everything in it along; it would outlive nspawn.
                for pid in booted:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                started.kill()


@contextlib.contextmanager
def _copied_root(folder: Path, tree: Path) -> Iterator[Path]:
    layers = folder / "layers"
    layers.mkdir()
    if os.geteuid() != 0:
        do_without("a booted systemd (run the tests as root)")
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(layers)], check=True)
    try:
        upper, work, root = (layers / name for name in ("upper", "work", "root"))
        for each in (upper, work, root):
            each.mkdir()
        options = f"lowerdir={tree},upperdir={upper},workdir={work}"
        mounted = subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, str(root)], check=False)
        if mounted.returncode != 0:
            do_without("a booted systemd (the kernel has no overlayfs)")
        try:
            yield root
        finally:
            subprocess.run(["umount", "--lazy", str(root)], check=True)
    finally:
        subprocess.run(["umount", "--lazy", str(layers)], check=True)


def _systemd_of(started: subprocess.Popen[bytes], console: Path) -> int:
    """The process that is number 1 inside. Before it is systemd, it still is nspawn."""
    found: list[int] = []

    def has_booted() -> bool:
        assert started.poll() is None, f"systemd-nspawn ended: {console.read_text()}"
        try:
            found[:] = [child.pid for child in psutil.Process(started.pid).children() if child.name() == "systemd"]
        except psutil.NoSuchProcess:  # one of nspawn's helpers, which has ended meanwhile
            return False
        return bool(found) and Path(f"/proc/{found[0]}/root/run/systemd/private").exists()

    wait_for(has_booted, "systemd to boot")
    return found[0]
