"""Many sites: how long a start takes, how long a drop takes to be published, what a site costs a worker in memory.

    python -m tests.bench.sites [N]        (default 10,000; the store is created in a temporary folder and removed)

Every line is one figure. Certificates are real; their keys come from a small pool, because creating keys is not
measured. Handshakes are not included: the figures end where a worker's snapshot changes.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from certstore.model.layout import Layout
from certstore.model.snapshot import Snapshot
from certstore.store.journal import JournalReader
from certstore.store.writer import StoreWriter
from certstore.watch.scan import take_view
from certstore.watch.watcher import DropWatcher
from tests.certificates import CertificateAuthority, make_key

DROPS = 20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sites", nargs="?", type=int, default=10_000)
    count = parser.parse_args().sites
    logging.basicConfig(level=logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="bench-sites-") as folder:
        measure(Path(folder) / "store", count)
    return 0


def measure(root: Path, count: int) -> None:
    hosts = [f"webmail.client-{number}.test" for number in range(count)]
    with timed(f"{count} drops laid down (certificates made, no part of the product)"):
        ca = lay_down(root, hosts)
    first_start(root, count)
    with timed("second start: lock, mend, journal held against live"):
        writer = StoreWriter.acquire(root)
    with timed("a worker's snapshot read whole"):
        snapshot = load(root)
    say("sites in it", f"{len(snapshot.sites) - 1}")
    say("memory of a worker per site", f"{memory_per_site(root, count):.1f} KB")
    before = take_view(writer.layout)
    with timed("a sweep's look at all places"):
        changed = take_view(writer.layout).changed_since(before.signatures)
    say("places that it found changed", str(len(changed)))
    watcher = DropWatcher(writer, scan_seconds=3600)
    with timed("second start: watches set, every drop found unchanged"):
        watcher.start()
        wait(lambda: watcher.is_idle, seconds=600)
    drops(root, hosts, ca)
    watcher.stop()
    writer.close()


def lay_down(root: Path, hosts: list[str]) -> CertificateAuthority:
    ca = CertificateAuthority()
    keys = [make_key() for _ in range(8)]
    domains = root / "domains"
    domains.mkdir(parents=True)
    for number, host in enumerate(hosts):
        (domains / host).mkdir()
        issued = ca.issue(host, host.replace("webmail", "autodiscover"), private_key=keys[number % len(keys)])
        (domains / host / "fullchain.pem").write_bytes(issued.fullchain_pem)
        (domains / host / "privkey.pem").write_bytes(issued.privkey_pem)
    return ca


def first_start(root: Path, count: int) -> None:
    with timed("first start: lock, folders, sites found"):
        writer = StoreWriter.acquire(root)
    watcher = DropWatcher(writer, scan_seconds=3600)
    began = time.perf_counter()
    watcher.start()
    wait(lambda: watcher.is_idle, seconds=3600)
    seconds = time.perf_counter() - began
    say(
        f"first start: {count} drops judged, archived and live",
        f"{seconds:.1f} s, {1000 * seconds / count:.1f} ms each",
    )
    watcher.stop()
    writer.close()


def load(root: Path) -> Snapshot:
    reader = JournalReader(Layout(root))
    try:
        return reader.load()
    finally:
        reader.close()


def drops(root: Path, hosts: list[str], ca: CertificateAuthority) -> None:
    """From the last write of the dropper to a worker's snapshot that has the certificate."""
    reader = JournalReader(Layout(root))
    reader.load()
    times = []
    for host in hosts[:: max(1, len(hosts) // DROPS)][:DROPS]:
        issued = ca.issue(host)
        (root / "domains" / host / "privkey.pem").write_bytes(issued.privkey_pem)
        (root / "domains" / host / "fullchain.pem").write_bytes(issued.fullchain_pem)
        began = time.perf_counter()
        while not has(reader.poll(), host, issued.fingerprint):
            if time.perf_counter() - began > 30:
                raise TimeoutError(f"the drop for {host} was not published within 30 s")
            time.sleep(0.002)
        times.append(1000 * (time.perf_counter() - began))
    reader.close()
    times.sort()
    figure = f"median {statistics.median(times):.0f} ms, worst {times[-1]:.0f} ms"
    say(f"dropped file to snapshot, {len(times)} drops", figure)


def has(snapshot: Snapshot | None, host: str, fingerprint: str) -> bool:
    certificate = snapshot.sites[host].certificate if snapshot else None
    return certificate is not None and certificate.fingerprint == fingerprint


def memory_per_site(root: Path, count: int) -> float:
    """KB of private memory that one process grows by when it reads the snapshot."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    child = context.Process(target=_report_memory, args=(root, theirs))
    child.start()
    kilobytes: float = ours.recv()
    child.join()
    return kilobytes / count


def _report_memory(root: Path, pipe: multiprocessing.connection.Connection) -> None:
    process = psutil.Process()
    before = process.memory_full_info().uss
    snapshot = load(root)
    pipe.send((process.memory_full_info().uss - before) / 1024)
    assert snapshot.main is not None


@contextmanager
def timed(what: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    seconds = time.perf_counter() - began
    say(what, f"{1000 * seconds:.0f} ms" if seconds < 10 else f"{seconds:.1f} s")


def wait(condition: Callable[[], bool], *, seconds: float) -> None:
    deadline = time.perf_counter() + seconds
    while not condition():
        if time.perf_counter() > deadline:
            raise TimeoutError(f"not within {seconds:g} s")
        time.sleep(0.002)


def say(what: str, figure: str) -> None:
    sys.stdout.write(f"{what:<70} {figure}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
