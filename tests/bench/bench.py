"""One run: which servers, how much load, where results go, and the progress messages."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench import accounting
from tests.bench.clients import Load, LoadFailed, NotResumed
from tests.bench.figures import Figure, Results
from tests.bench.material import SiteFiles
from tests.bench.peers import NotServing, Peer, Server, Setting
from tests.bench.programs import Missing, find


@dataclass(frozen=True, slots=True)
class Size:
    """How much load."""

    name: str
    rounds: int
    seconds: int
    idle_connections: tuple[int, ...]
    few_idle_connections: tuple[int, ...]
    """For servers that would take minutes, and in a quick run for all but the edge."""
    stores: tuple[int, ...]
    starts: int
    drops: int
    random_handshakes: int
    large_bodies: int = 3
    held_connections: int = 200
    start_seconds: float = 120.0
    """A start that takes longer is given up and reported."""
    line_delays: tuple[int, ...] = ()
    """Milliseconds; none: all of them."""
    warms_up: bool = True
    is_brief: bool = False


FULL = Size("full", 5, 3, (1_000, 10_000), (1_000,), (1, 1_000, 10_000, 50_000), 3, 9, 1_000, start_seconds=180.0)
QUICK = Size("quick", 2, 1, (1_000, 10_000), (1_000,), (1, 10_000), 1, 3, 300, is_brief=True)
TINY = Size(
    "tiny", 1, 1, (20,), (20,), (1, 3), 1, 1, 10, large_bodies=1, held_connections=5, start_seconds=60.0,
    warms_up=False, line_delays=(20,),
)  # fmt: skip


@dataclass(slots=True)
class Bench:
    """What the measurements share. `missing` names the servers that are not available."""

    root: Path
    size: Size
    sites: SiteFiles
    upstream_port: int
    peers: Sequence[Peer]
    say: Callable[[str], None] = lambda _: None
    results: Results = field(default_factory=Results)
    missing: dict[str, str] = field(default_factory=dict)
    _starts: int = 0

    def __post_init__(self) -> None:
        present = []
        for peer in self.peers:
            try:
                find(peer.program)
                present.append(peer)
            except Missing as missing:
                self.missing[peer.name] = str(missing)
                self.say(str(missing))
        self.peers = present

    @property
    def kinds(self) -> list[Peer]:
        """The servers, without those that differ only in where their certificates are."""
        return [peer for peer in self.peers if not peer.is_variant]

    def start(self, peer: Peer, *, workers: int = 1) -> Server:
        """A fresh server for the current sites, not yet ready. Ends with its `with`."""
        self._starts += 1
        folder = self.root / "servers" / str(self._starts)
        folder.mkdir(parents=True)
        return Server(peer, Setting(folder, self.sites, self.upstream_port, workers))

    @contextmanager
    def serving(self, *, workers: int = 1, peers: Sequence[Peer] | None = None) -> Iterator[list[Server]]:
        """All servers at once, each ready; one that does not start is named and left out."""
        with ExitStack() as stack:
            servers = []
            for peer in self.kinds if peers is None else peers:
                peer.prepare(self.sites)
                server = stack.enter_context(self.start(peer, workers=workers))
                try:
                    server.wait_serving(None, self.sites.main.fingerprint)
                except NotServing as error:
                    self.say(str(error))
                    continue
                servers.append(server)
            # Work that a start leaves behind is not part of any operation.
            accounting.wait_until_started([pid for server in servers for pid in server.pids()])
            yield servers

    def cpu_per_operation(
        self, figure: Figure, server: Server, load: Callable[[Server], Load], *, scale: float = 1e6
    ) -> None:
        """One value of one server: its CPU time per operation, in microseconds."""
        name = server.peer.name
        try:
            before = server.cpu_seconds()
            operations = load(server).operations
            value = (server.cpu_seconds() - before) / operations * scale
        except NotResumed:
            self.results.note(figure, name, "does not resume")
            return
        except LoadFailed as error:
            self.results.note(figure, name, "failed")
            self.say(f"{name}: {figure.title}: {error}")
            return
        self.results.add(figure, name, value)
        self.say(f"{figure.title}: {name} {value:,.{figure.digits}f} {figure.unit}")


class Progress:
    """Lines on stderr with the time since the start."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def __call__(self, text: str) -> None:
        passed = int(time.monotonic() - self._began)
        sys.stderr.write(f"[{passed // 60:2}:{passed % 60:02}] {text}\n")
        sys.stderr.flush()
