"""What the measurements know of a server: how it starts, its processes, and how it applies a new certificate."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from tests.bench import accounting, clients
from tests.bench.material import SiteFiles
from tests.certificates import Issued
from tests.ports import free_port

STOP_SECONDS = 30.0
UNSEEN_SECONDS = 1.0
"""How long a server that is not known to watch its files gets to notice a replaced one."""


class NotServing(Exception):
    """The server ended, or did not serve in time; the message holds the last of its log."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What a server is started with: its `folder`, and the `sites` that exist when it starts."""

    folder: Path
    sites: SiteFiles
    upstream_port: int
    workers: int = 1


class Peer(ABC):
    """One kind of server: knows how to configure it, has no state of a running one."""

    name: ClassVar[str]
    program: ClassVar[str]
    sees_drops: ClassVar[bool] = False
    """Whether it notices that a certificate's file was replaced."""
    refresh_way: ClassVar[str] = ""
    """Otherwise what makes it read the file; shown beside the time this takes."""
    is_variant: ClassVar[bool] = False
    """Whether it differs from another server only in how it finds certificates: then measured with many sites."""
    is_slow: ClassVar[bool] = False
    """Whether it gets only a tenth of the load, so that a run ends."""

    @abstractmethod
    def command(self, setting: Setting, port: int) -> Sequence[str]:
        """Write the configuration and return the command to run. Raises programs.Missing."""

    def environment(self, setting: Setting) -> Mapping[str, str]:
        return {}

    def prepare(self, sites: SiteFiles) -> None:  # noqa: B027  most need nothing
        """Work done once for these sites, before any start, and not measured."""

    def expected(self, sites: SiteFiles, host: str) -> str:
        """The fingerprint that a client must get."""
        return sites.fingerprints[host]

    def put(self, setting: Setting, host: str, issued: Issued) -> None:
        """Replace the site's certificate file."""
        setting.sites.put(host, issued)

    def refresh(self, server: Server, host: str) -> None:
        """Make it read the replaced file without a restart."""
        raise NotImplementedError

    def data_plane(self, server: Server) -> list[int]:
        """The processes that serve, without those that only manage."""
        return server.pids()


class Server:
    """A running server, on a port chosen by the system."""

    def __init__(self, peer: Peer, setting: Setting) -> None:
        self.peer = peer
        self.setting = setting
        self.port = free_port()
        setting.folder.mkdir(parents=True, exist_ok=True)
        self._log = setting.folder / "server.log"
        command = peer.command(setting, self.port)
        self.started = time.perf_counter()
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                cwd=setting.folder,
                env={**os.environ, **peer.environment(setting)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def pids(self) -> list[int]:
        return accounting.process_tree(self.process.pid)

    def cpu_seconds(self) -> float:
        return accounting.settled_cpu_seconds(self.pids())

    def wait_serving(self, host: str | None, fingerprint: str, seconds: float = 60.0) -> float:
        """Seconds from the start to the first handshake with this certificate. Raises NotServing."""
        self.wait_certificate(host, fingerprint, seconds)
        return time.perf_counter() - self.started

    def wait_certificate(self, host: str | None, fingerprint: str, seconds: float) -> None:
        """Connect again and again until this certificate is served. Raises NotServing."""
        deadline = time.perf_counter() + seconds
        while clients.served(self.port, host, seconds=seconds) != fingerprint:
            if self.process.poll() is not None:
                raise NotServing(f"{self.peer.name} ended with {self.process.returncode}: {self.last_words()}")
            if time.perf_counter() > deadline:
                raise NotServing(f"{self.peer.name} did not show the right certificate within {seconds:g} s")
            time.sleep(0.003)

    def last_words(self) -> str:
        return self._log.read_text(errors="replace")[-1500:]

    def stop(self) -> None:
        """End it by its pid, then what is left of its session."""
        pids = self.pids()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            self.process.wait()
