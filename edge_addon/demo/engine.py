"""The engine of the cluster demo: an etcd of one member on a free port, with the files that `engine-files` writes.

A real engine has three members on three machines; one is enough to be killed and started again.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from datetime import datetime
from pathlib import Path
from typing import Self

from edge_addon.demo.process import EdgeFailed

READY_SECONDS = 30.0
SYSTEM_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/bin", "/usr/bin", "/usr/sbin"])
_PAUSE = 0.05


class EngineMissing(EdgeFailed):
    """There is no etcd on this machine, or it did not start. The message says what to do."""


def find_etcd() -> Path:
    """Raises EngineMissing."""
    found = shutil.which("etcd", path=SYSTEM_PATH)
    if found is None:
        raise EngineMissing("The demo of a cluster needs etcd: apt install etcd-server, or see https://etcd.io")
    return Path(found)


class Engine:
    """Runs within a `with`, between `start` and `kill`. Its data survive `kill`. `node` is who gets a credential; those
    who join get theirs with the invitation.
    """

    def __init__(self, folder: Path, node: str, now: datetime) -> None:
        from certstore.cluster.engine_files import AUTHORITY, CLIENT, SETTINGS, Member, engine_files

        self._program = find_etcd()
        self._folder = folder
        member = Member("demo", "127.0.0.1", *_free_ports(2))
        for name, content in engine_files([member], [node], "demo", now).items():
            path = folder / name
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.write_bytes(content)
            path.chmod(0o600)
        self.endpoint = member.endpoint
        self._port = member.client_port
        self.ca_file = folder / AUTHORITY
        self.credential = folder / "nodes" / node / CLIENT
        self._settings = folder / "members" / member.name / SETTINGS
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Return once it listens. Raises EngineMissing if it does not."""
        with (self._folder / "etcd.log").open("ab") as log:
            self._child = subprocess.Popen(
                [self._program], env=self._environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline and self._child.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self._port), 1).close()
                return
            except OSError:
                time.sleep(_PAUSE)
        raise EngineMissing(f"etcd did not start: see {self._folder / 'etcd.log'}")

    def kill(self) -> None:
        """At once, as by a power cut."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
        self._child = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _environment(self) -> dict[str, str]:
        """The member's settings file, with its paths in the demo's folder."""
        from certstore.cluster.engine_files import DATA_FOLDER, TLS_FOLDER

        text = self._settings.read_text(encoding="utf-8")
        text = text.replace(DATA_FOLDER, str(self._folder / "data")).replace(TLS_FOLDER, str(self._settings.parent))
        lines = [line.partition("=") for line in text.splitlines() if line.startswith("ETCD_")]
        return {"PATH": SYSTEM_PATH, **{name: value.strip('"') for name, _, value in lines}}


def _free_ports(count: int) -> list[int]:
    """Free a moment ago: etcd takes no sockets from others."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
