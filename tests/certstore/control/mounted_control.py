"""A control process whose store is a separate file system, really full or read-only, in a mount namespace."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from certstore.control import client
from certstore.control.commands.requests import AddSiteRequest, CommandRequest, InstallRequest
from certstore.control.commands.results import CommandResult, InstallResult
from certstore.model.certificate.dropped_file import DroppedFile
from tests.certificates import CertificateAuthority
from tests.certstore.control.control_process import ControlProcess

HOST = "webmail.client-a.test"
CA = CertificateAuthority()

_MAY_MOUNT = os.geteuid() == 0 and (
    subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "x", "/mnt"], capture_output=True, check=False).returncode
    == 0
)
needs_mounts = pytest.mark.skipif(not _MAY_MOUNT, reason="needs leave to mount: root, no container that forbids it")


class MountedControl(ControlProcess):
    """Its store is a tmpfs of 1 MB that only this process sees, and others only through it."""

    wrapper = ("unshare", "-m", "sh", "-c", 'mount -t tmpfs -o size=1m,mode=755 x store && exec "$@"', "sh")

    @property
    def inside(self) -> Path:
        """The folder as this process sees it."""
        return Path(f"/proc/{self.process.pid}/root{self.folder}")

    def call[R: CommandResult](self, request: CommandRequest[R]) -> R:
        return client.call(self.settings, self.inside, request)

    def install(self) -> InstallResult:
        return self.call(InstallRequest(HOST, (DroppedFile("all.pem", CA.issue(HOST).combined_pem),)))

    def become_read_only(self) -> None:
        """A read-only mount over it: a plain remount is refused while files are open for writing."""
        store = str(self.folder / "store")
        self._mount("mount", "--bind", store, store)
        self._mount("mount", "-o", "remount,bind,ro", store)

    def become_writable(self) -> None:
        """By a remount: the mount can't be taken away while the process has a file open below it."""
        self._mount("mount", "-o", "remount,bind,rw", str(self.folder / "store"))

    def _mount(self, *command: str) -> None:
        subprocess.run(["nsenter", "-t", str(self.process.pid), "-m", *command], check=True)


def fill(path: Path) -> None:
    """Until nothing more fits."""
    with path.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError as error:
            assert error.errno == errno.ENOSPC  # noqa: PT017


@contextmanager
def mounted_control(folder: Path) -> Iterator[MountedControl]:
    """With a site that has no certificate yet."""
    (folder / "store").mkdir()
    control = MountedControl(folder)
    try:
        control.wait_ready()
        control.call(AddSiteRequest(HOST, {"host": HOST}))
        yield control
        assert control.stop() == 0
        assert "Traceback" not in control.stderr, control.stderr
    finally:
        control.process.kill()
        control.wait()
