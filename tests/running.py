"""`certedge run` as a child process, for end-to-end tests.

    settings = {"listeners": [{"kind": "https"}], "upstream": "http://127.0.0.1:…"}
    with running_edge(tmp_path, settings, {"client-a.test": certificate}) as edge:
        edge.port("https"), edge.fingerprint("https", "client-a.test"), edge.worker_pids(), edge.reload(), edge.stop()

Listening sockets are bound here, on ports chosen by the system, and passed on as systemd does (LISTEN_FDS), so that no
test waits for a port or loses one. The edge reports readiness through NOTIFY_SOCKET. At the end, the process must have
exited without a traceback on stderr.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml

from certstore.model.layout import Layout
from certstore.store.writer import StoreWriter
from tests.certificates import Issued
from tests.deadlines import wait_for
from tests.ports import listening_socket

START_SECONDS = 60.0
STOP_SECONDS = 30.0
MAIN_HOST = "edge.test"
HAS_PORT = re.compile(r"(\]|^[^:]*):\d+$")

# Gives the child its sockets as descriptors 3, 4, … and its own pid in LISTEN_PID, then becomes the real program.
_HAND_OVER = """
import fcntl, os, sys
count = int(sys.argv[1])
given = [int(fd) for fd in sys.argv[2 : 2 + count]]
aside = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 100) for fd in given]  # any may be above 100 itself
for fd in given:
    os.close(fd)
for position, fd in enumerate(aside):
    os.dup2(fd, 3 + position, True)
os.environ["LISTEN_PID"] = str(os.getpid())
os.environ["LISTEN_FDS"] = str(count)
os.execv(sys.argv[2 + count], sys.argv[2 + count :])
"""


@dataclass(frozen=True, slots=True)
class Site:
    """What is dropped for a site: certificate and `site.yaml` (without `host`, the folder's name is the host)."""

    certificate: Issued | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


def write_site(store: Path, site: str, given: Issued | Site) -> None:
    """Drop a site as an administrator does: its `site.yaml` and files with certbot's names in its folder."""
    given = Site(given) if isinstance(given, Issued) else given
    folder = Layout(store).drop_folder(site)
    folder.mkdir(parents=True, exist_ok=True)
    settings = dict(given.settings)
    if site == "main" or settings:
        settings.setdefault("host", MAIN_HOST if site == "main" else site)
        Layout(store).site_yaml(site).write_text(yaml.safe_dump(settings), encoding="utf-8")
    if given.certificate is not None:
        drop_certificate(store, site, given.certificate)


def drop_certificate(store: Path, site: str, certificate: Issued) -> None:
    """Put a pair into the site's drop folder, each file by rename, the key first."""
    folder = Layout(store).drop_folder(site)
    for name, content in (("privkey.pem", certificate.privkey_pem), ("fullchain.pem", certificate.fullchain_pem)):
        half = folder / f".{name}.new"
        half.write_bytes(content)
        half.rename(folder / name)


def take_in_drops(store: Path, sites: Iterable[str]) -> None:
    """Process the drops before the service starts, so that it serves them from the start."""
    with StoreWriter.acquire(store, settle=timedelta(0)) as writer:
        for site in sites:
            writer.check(site)


def served_fingerprint(port: int, server_name: str | None, *, host: str = "127.0.0.1") -> str:
    """SHA-256 of the leaf that a TLS client gets there for this name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection((host, port), timeout=60) as plain,
        context.wrap_socket(plain, server_hostname=server_name) as secure,
    ):
        leaf = secure.getpeercert(binary_form=True)
    assert leaf is not None
    return hashlib.sha256(leaf).hexdigest()


def is_served_trusted(port: int, host: str, root: bytes, *, address: str = "127.0.0.1") -> bool:
    """Whether a TLS client that trusts only this root (PEM) gets a valid certificate for this host."""
    context = ssl.create_default_context(cadata=root.decode())
    try:
        with (
            socket.create_connection((address, port), timeout=60) as plain,
            context.wrap_socket(plain, server_hostname=host),
        ):
            return True
    except ssl.SSLCertVerificationError:
        return False


class RunningEdge:
    """One `certedge run`, started and ready. Folder: `edge.yaml`, `store/`, `edge.log` (its stderr)."""

    def __init__(self, folder: Path, listeners: Sequence[tuple[str, int]]) -> None:
        self.folder = folder
        self.config = folder / "edge.yaml"
        self.store = folder / "store"
        self.log = folder / "edge.log"
        self.program = [sys.executable, "-m", "edge_addon.cli"]
        self._listeners = tuple(listeners)
        self._notified: list[str] = []
        # A separate short path: a Unix socket's address holds 107 bytes, and pytest's paths are long.
        self._notify_folder = Path(tempfile.mkdtemp(prefix="edge-notify-"))
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(str(self._notify_folder / "socket"))
        self._notify.setblocking(False)
        self.process: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        """The supervisor's pid."""
        return self.process.pid

    @property
    def stderr(self) -> str:
        """What all its processes have written to stderr so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def port(self, kind: str, position: int = 0) -> int:
        """The port of the listener of this kind; `position` counts if there are several."""
        return [port for each, port in self._listeners if each == kind][position]

    def fingerprint(self, kind: str, server_name: str | None, *, host: str = "127.0.0.1") -> str:
        """The leaf served on an implicit TLS listener for this name."""
        return served_fingerprint(self.port(kind), server_name, host=host)

    def child_pids(self, name: str) -> list[int]:
        """Children of the supervisor with this process name: `edge-worker` or `edge-control`."""
        found = []
        for process in Path("/proc").iterdir():
            if not process.name.isdigit():
                continue
            with contextlib.suppress(OSError):
                comm, _, rest = (process / "stat").read_text().rpartition(")")
                state, parent = rest.split()[:2]
                if comm.partition("(")[2] == name and int(parent) == self.pid and state != "Z":
                    found.append(int(process.name))
        return sorted(found)

    def worker_pids(self) -> list[int]:
        return self.child_pids("edge-worker")

    def control_pid(self) -> int:
        return wait_for(lambda: self.child_pids("edge-control"), "a control process")[0]

    def notified(self) -> list[str]:
        """Every message that was sent to NOTIFY_SOCKET so far, in order."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self._notified.append(self._notify.recv(4096).decode())
        return list(self._notified)

    def send_signal(self, number: int) -> None:
        self.process.send_signal(number)

    def reload(self) -> None:
        """Send SIGHUP and wait until the new settings are active or refused."""
        before = self._times_ready()
        self.send_signal(signal.SIGHUP)
        self.wait_ready(before + 1)

    def wait_ready(self, times: int = 1) -> None:
        """Wait until it has reported READY this many times since its start."""
        self._wait(lambda: self._times_ready() >= times, "ready", START_SECONDS)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop it and wait until it has ended; return its exit code."""
        if self.process.poll() is None:
            self.send_signal(number)
        return self.wait()

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """Wait for the end; a process that does not end is killed and fails the test."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"still running after {seconds:g} s; its stderr:\n{self.stderr}") from None

    def start(self, sockets: Sequence[socket.socket], environment: Mapping[str, str]) -> None:
        """Start the child with these sockets; for `running_edge`."""
        descriptors = [str(each.fileno()) for each in sockets]
        wrapper = [sys.executable, "-I", "-S", "-c", _HAND_OVER, str(len(descriptors)), *descriptors]
        program = [*self.program, "run", "--config", str(self.config)]
        notify = {"NOTIFY_SOCKET": str(self._notify_folder / "socket")}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*(wrapper if sockets else ()), *program],
                cwd=Path(__file__).parent.parent,
                env={**os.environ, **notify, **environment},
                pass_fds=[each.fileno() for each in sockets],
                stdin=subprocess.DEVNULL,
                stderr=log,
            )

    def _times_ready(self) -> int:
        return sum("READY=1" in message.splitlines() for message in self.notified())

    def _wait(self, condition: Callable[[], bool], what: str, seconds: float) -> None:
        def met_or_ended() -> bool:
            if condition():
                return True
            code = self.process.poll()
            assert code is None, f"ended with {code} instead of getting {what}; its stderr:\n{self.stderr}"
            return False

        try:
            wait_for(met_or_ended, what, seconds=seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.stderr}") from None

    def close(self) -> None:
        self._notify.close()
        shutil.rmtree(self._notify_folder, ignore_errors=True)


@contextlib.contextmanager
def running_edge(
    folder: Path,
    settings: Mapping[str, Any],
    sites: Mapping[str, Issued | Site] | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    sockets: Sequence[socket.socket] = (),
    wait: bool = True,
    program: Sequence[str] = (),
) -> Iterator[RunningEdge]:
    """Write `edge.yaml` and the store into `folder`, start `certedge run` on them, wait until it is ready.

    `settings` is `edge.yaml` as a mapping; a listener without `listen` gets 127.0.0.1 and a port of the system's
    choice, one with `listen: HOST` (no port) gets that host; one with a port is bound by the service. The
    store is `folder/store`, one worker unless set. `main` is written with the host `edge.test` where `sites` does not
    name it. Certificates in `sites` are activated before the service starts; later drops are processed by the service.
    `sockets` are passed on too, and still belong to the caller. `program` is another certedge than that of the tests.
    """
    listeners = [dict(listener) for listener in settings.get("listeners", ())]
    with contextlib.ExitStack() as stack:
        bound_here = []
        for listener in listeners:
            host = listener.get("listen", "127.0.0.1")
            if HAS_PORT.search(host):
                continue
            bound = stack.enter_context(listening_socket(host, backlog=4096))
            port = bound.getsockname()[1]
            listener["listen"] = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            bound_here.append(bound)
        edge = RunningEdge(folder, [(each["kind"], int(each["listen"].rpartition(":")[2])) for each in listeners])
        edge.program = list(program) or edge.program
        stack.callback(edge.close)
        for site, given in {"main": Site(), **(sites or {})}.items():
            write_site(edge.store, site, given)
        if any((given if isinstance(given, Issued) else given.certificate) for given in (sites or {}).values()):
            take_in_drops(edge.store, ["main", *(sites or {})])
        whole = {"store": "store", "workers": 1, **settings, "listeners": listeners}
        # Port 0, so that the admin listeners of two tests never collide.
        whole.setdefault("admin", {"listen": "127.0.0.1:0"})
        edge.config.write_text(yaml.safe_dump(whole, sort_keys=False), encoding="utf-8")
        edge.start([*bound_here, *sockets], environment or {})
        stack.callback(_end, edge)
        # The child holds the sockets now; a copy kept here would accept connections after its end.
        for bound in bound_here:
            bound.close()
        if wait:
            edge.wait_ready()
        yield edge
        edge.stop()
        assert "Traceback" not in edge.stderr, edge.stderr


def _end(edge: RunningEdge) -> None:
    """Leave no process behind, however the test ended."""
    if edge.process.poll() is None:
        edge.process.terminate()
        try:
            edge.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            edge.process.kill()
            edge.process.wait()
