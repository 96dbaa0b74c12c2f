"""How many instructions an operation takes in the processes that serve: a count that no neighbour changes.

    python -m tests.bench.instructions [--peer NAME]… [--json FILE] [--beside FILE]

CPU time varies by a tenth from run to run on a shared machine; this count varies by one to three in a hundred, so it
shows what a change costs. It is not time: memory that is not in a cache counts nothing. valgrind's callgrind runs the
server, thirty times slower than usual, and counts only during a load. `--beside` prints the ratio to an earlier run's
`--json`, of another checkout for example.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.bench import Progress
from tests.bench.clients import connect, get, h2load
from tests.bench.material import MAIN_HOST, SiteFiles
from tests.bench.peers import Peer, Server, Setting, all_peers
from tests.bench.programs import Missing, find
from tests.bench.upstream import MEGABYTE, SMALL, Upstream
from tests.deadlines import wait_for

COUNTED = ("certedge", "nginx", "HAProxy")
"""Servers that callgrind can run."""
_TOTAL = re.compile(r"^(?:totals|summary): (\d+)", re.MULTILINE)
_START_SECONDS = 400.0


@dataclass(frozen=True, slots=True)
class Load:
    """So many operations, after a few that are not counted."""

    operations: int
    run: Callable[[int, int], None]
    """Takes the port and a number of operations."""


def handshakes(port: int, count: int) -> None:
    for _ in range(count):
        connect(port, None).close()


def resumptions(port: int, count: int) -> None:
    """With TLS 1.2, as clients of mail servers still do; the first handshake is a full one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    session: ssl.SSLSession | None = None
    for _ in range(count):
        with socket.create_connection(("127.0.0.1", port)) as plain, context.wrap_socket(plain, session=session) as tls:
            assert tls.session_reused is (session is not None)
            session = tls.session


def handshakes_with_get(port: int, count: int) -> None:
    for _ in range(count):
        with connect(port, None) as secure:
            get(secure, MAIN_HOST, SMALL)


def gets(port: int, count: int) -> None:
    with connect(port, None) as secure:
        for _ in range(count):
            get(secure, MAIN_HOST, SMALL)


LOADS: Mapping[str, Load] = {
    "full handshake": Load(200, handshakes),
    "resumed handshake": Load(200, resumptions),
    "handshake with GET": Load(200, handshakes_with_get),
    "GET": Load(400, gets),
    "HTTP/2 GET": Load(400, lambda port, count: _ignore(h2load(port, SMALL, count, connections=1))),
    "1 MB body": Load(10, lambda port, count: _ignore(h2load(port, MEGABYTE, count, http1=True, connections=1))),
}


def _ignore(_: object) -> None:
    """A count needs no time."""


class UnderCallgrind(Peer):
    """A server that callgrind runs, at first without counting."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    def command(self, setting: Setting, port: int) -> Sequence[str]:
        return [
            *(find("valgrind"), "--tool=callgrind", "--instr-atstart=no", "--trace-children=yes"),
            f"--callgrind-out-file={setting.folder / 'callgrind'}.%p",
            *self._peer.command(setting, port),
        ]

    def environment(self, setting: Setting) -> Mapping[str, str]:
        # valgrind does not know io_uring, which libuv would use.
        return {**self._peer.environment(setting), "UV_USE_IO_URING": "0"}

    def data_plane(self, server: Server) -> list[int]:
        return self._peer.data_plane(server)


def count(server: Server, load: Load) -> float:
    """The instructions of one operation, over all processes that serve."""
    load.run(server.port, max(load.operations // 10, 1))
    pids = server.peer.data_plane(server)
    for pid in pids:
        _control("-i", "on", str(pid))
        _control("-z", str(pid))
    load.run(server.port, load.operations)
    return sum(_counted(server.setting.folder, pid) for pid in pids) / load.operations


def _counted(folder: Path, pid: int) -> int:
    """Stop counting; the instructions of this process so far."""
    before = set(folder.glob(f"callgrind.{pid}.*"))
    _control("-d", "load", str(pid))
    _control("-i", "off", str(pid))

    def totals() -> list[str]:
        written = set(folder.glob(f"callgrind.{pid}.*")) - before
        return [each[1] for path in written for each in _TOTAL.finditer(path.read_text())]

    return max(int(total) for total in wait_for(totals, f"the counts of process {pid}"))


def _control(*arguments: str) -> None:
    subprocess.run([find("callgrind_control"), *arguments], check=True, capture_output=True)


def measure(root: Path, wanted: Sequence[str], say: Callable[[str], None]) -> dict[str, dict[str, float]]:
    """By server and operation. Raises Missing."""
    found: dict[str, dict[str, float]] = {}
    with Upstream(root / "upstream") as upstream:
        sites = SiteFiles(root)
        for peer in all_peers(root):
            if peer.name not in wanted:
                continue
            try:
                find(peer.program)
            except Missing as missing:
                say(str(missing))
                continue
            peer.prepare(sites)
            setting = Setting(root / "servers" / peer.name, sites, upstream.port)
            with Server(UnderCallgrind(peer), setting) as server:
                server.wait_serving(None, sites.main.fingerprint, _START_SECONDS)
                for name, load in LOADS.items():
                    found.setdefault(peer.name, {})[name] = count(server, load)
                    say(f"{name}: {peer.name} {found[peer.name][name]:,.0f}")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", action="append", choices=COUNTED, help="a server to count; may be repeated")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the counts")
    parser.add_argument("--beside", type=Path, metavar="FILE", help="the counts of an earlier run, for ratios")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.ERROR)
    earlier = json.loads(options.beside.read_text()) if options.beside else {}
    try:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            found = measure(Path(folder), options.peer or COUNTED, Progress())
    except Missing as missing:
        sys.stderr.write(f"{missing}\n")
        return 1
    sys.stdout.write(as_text(found, earlier))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0


def as_text(found: Mapping[str, Mapping[str, float]], earlier: Mapping[str, Mapping[str, float]]) -> str:
    """A table: thousands of instructions, and the ratio to an earlier run where it has the figure."""
    lines = [f"{'thousand instructions':22}" + "".join(f"{name:>18}" for name in found)]
    for load in LOADS:
        cells = []
        for name, counts in found.items():
            before = earlier.get(name, {}).get(load)
            ratio = f" x{counts[load] / before:.3f}" if before else ""
            cells.append(f"{counts[load] / 1000:,.0f}{ratio}")
        lines.append(f"{load:22}" + "".join(f"{cell:>18}" for cell in cells))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
