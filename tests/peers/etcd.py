"""A real etcd of three members with TLS, on loopback, for as long as the `with` lasts.

    with Etcd() as etcd:
        etcd.endpoints, etcd.ca_file, etcd.client_cert
        etcd.members[0].kill(), .start(), .pause(), .resume()
        etcd.leader(), etcd.compact(), etcd.snapshot(path), etcd.restore(path)

Certificates and settings are those that `certedge cluster engine-files` makes: the tests run what administrators run.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from certstore.cluster.engine_files import AUTHORITY, CLIENT, SETTINGS, Member, engine_files
from tests.deadlines import wait_for
from tests.peers import require_peer
from tests.peers.machines import Machine
from tests.ports import free_port

type Do = Callable[..., Any]


def _here[**P, T](function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    return function(*args, **kwargs)


class EtcdMember:
    """One process. Its data survive `kill` and `start`. `do` calls a function where the member is to run."""

    def __init__(self, program: Path, member: Member, root: Path, settings: Mapping[str, str], do: Do) -> None:
        self.name = member.name
        self.endpoint = member.endpoint
        self.data = root / "data"
        self._program, self._root, self._do = program, root, do
        self._settings = {
            **{name: value.replace("/etc/etcd", str(root)) for name, value in settings.items()},
            "ETCD_DATA_DIR": str(self.data),
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        return (self._root / "log").read_text(encoding="utf-8", errors="replace")

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self, **settings: str) -> None:
        """`settings` without their ETCD_ go over those of the files."""
        changed = {f"ETCD_{name}": value for name, value in settings.items()}
        with (self._root / "log").open("ab") as log:
            self._process = self._do(
                subprocess.Popen,
                [str(self._program)],
                env={"PATH": os.environ["PATH"], **self._settings, **changed},
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        """At once, as by a power cut. A member that does not run stays as it is."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            self._process.wait()
        self._process = None

    def pause(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def erase(self) -> None:
        shutil.rmtree(self.data, ignore_errors=True)


class Etcd:
    """`count` members; `settings` (without their ETCD_) go over those that engine-files writes.

    With `machines` there is a member on each of them; then everything here has to be called on one of them.
    """

    def __init__(self, count: int = 3, machines: Sequence[Machine] = (), **settings: str) -> None:
        self._program = require_peer("etcd")
        self._control = require_peer("etcdctl")
        self._folder = Path(tempfile.mkdtemp(prefix="etcd-"))
        addresses = [machine.address for machine in machines] or ["127.0.0.1"] * count
        described = [
            Member(f"member-{number}", address, free_port(), free_port()) for number, address in enumerate(addresses, 1)
        ]
        for path, content in engine_files(described, ["edge-a"], "tests", datetime.now(UTC)).items():
            (self._folder / path).parent.mkdir(parents=True, exist_ok=True)
            (self._folder / path).write_bytes(content)
        self.ca_file = self._folder / AUTHORITY
        self.client_cert = self._folder / "nodes/edge-a" / CLIENT
        self._described = described
        places: Sequence[Do] = [machine.do for machine in machines] or [_here] * count
        self.members = [self._member(each, settings, do) for each, do in zip(described, places, strict=True)]

    def _member(self, member: Member, changed: Mapping[str, str], do: Do) -> EtcdMember:
        root = self._folder / "members" / member.name
        lines = (root / SETTINGS).read_text(encoding="utf-8").splitlines()
        settings = dict(line.partition("=")[::2] for line in lines if not line.startswith("#"))
        settings = {name: shlex.split(value)[0] for name, value in settings.items()}
        settings |= {f"ETCD_{name}": value for name, value in changed.items()}
        return EtcdMember(self._program, member, root, settings, do)

    @property
    def endpoints(self) -> tuple[str, ...]:
        return tuple(member.endpoint for member in self.members)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for member in self.members:
            member.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        """Start every member, and wait until they have a leader and answer."""
        for member in self.members:
            member.start()
        wait_for(self._answers, "the members have a leader and answer", seconds=120)

    def stop(self) -> None:
        for member in self.members:
            member.kill()

    def leader(self) -> EtcdMember:
        """Of the members that answer."""
        leader = wait_for(self._leader, "the members have a leader")
        assert leader is not None
        return leader

    def endpoints_that_answer(self) -> list[str]:
        return [status["Endpoint"] for status in self._statuses()]

    def compact(self) -> None:
        """Forget all history up to now."""
        revision = max(status["Status"]["header"]["revision"] for status in self._statuses())
        self.control("compact", str(revision))

    def snapshot(self, path: Path) -> None:
        """A backup, as `etcdctl snapshot save` makes it."""
        self.control("snapshot", "save", str(path), endpoints=(self.endpoints[0],))

    def restore(self, path: Path) -> None:
        """Every member anew from the snapshot, as etcd's manual says."""
        self.stop()
        everyone = ",".join(f"{each.name}={each.peer_url}" for each in self._described)
        for member, described in zip(self.members, self._described, strict=True):
            member.erase()
            words = ["--name", member.name, "--initial-cluster", everyone, "--initial-cluster-token", "tests"]
            words += ["--initial-advertise-peer-urls", described.peer_url, "--data-dir", str(member.data)]
            self.control("snapshot", "restore", str(path), *words, endpoints=())
        self.start()

    def control(self, *words: str, endpoints: tuple[str, ...] | None = None) -> str:
        """What etcdctl prints; fails if it does."""
        chosen = self.endpoints if endpoints is None else endpoints
        reach = ["--endpoints", ",".join(chosen), "--cacert", str(self.ca_file)] if chosen else []
        reach += ["--cert", str(self.client_cert), "--key", str(self.client_cert)] if chosen else []
        ran = subprocess.run(
            [str(self._control), *reach, *words],
            env={"ETCDCTL_API": "3", "PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    def _answers(self) -> bool:
        try:
            self.control("--dial-timeout=1s", "--command-timeout=2s", "get", "x")
            return len(self._statuses()) == len(self.members)
        except AssertionError:
            return False

    def _leader(self) -> EtcdMember | None:
        for status in self._statuses():
            if status["Status"].get("leader") == status["Status"]["header"]["member_id"]:
                return next(member for member in self.members if member.endpoint == status["Endpoint"])
        return None

    def _statuses(self) -> list[dict[str, Any]]:
        """Of the members that answer."""
        statuses: list[dict[str, Any]] = []
        for endpoint in self.endpoints:
            with contextlib.suppress(AssertionError):
                words = ("--dial-timeout=1s", "--command-timeout=2s", "endpoint", "status", "-w", "json")
                statuses += json.loads(self.control(*words, endpoints=(endpoint,)))
        return statuses
