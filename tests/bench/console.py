"""The console's overview with many sites: how long it takes to answer, and how large it is.

    python -m tests.bench.console [N]        (default 10,000; the store is created in a temporary folder and removed)

Real HTTPS to a console in its usual process, signed in with a session, and pages as a browser requests them. The first
figure is the time from the start until the overview can be shown. Exit code 1 if a figure is not reached.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import sys
import tempfile
import time
from pathlib import Path

from certstore.model.console.people import Role
from tests.bench.sites import lay_down, say, timed, wait
from tests.certstore.admin.browser import sign_in
from tests.certstore.admin.console import Client, RunningConsole, running_console

ROUNDS = 20
MOST_MILLISECONDS, MOST_KILOBYTES = 300, 500
PAGES = {
    "overview": "/",
    "search for one of them": "/?search=client-77",
    "sorted by end, last page": "/?order=ends&page=100000",
    "filtered by state": "/?standing=ok",
    "API, 200 sites": "/api/v1/sites?limit=200",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sites", nargs="?", type=int, default=10_000)
    count = parser.parse_args().sites
    logging.basicConfig(level=logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="bench-console-") as folder:
        return measure(Path(folder) / "store", count)


def measure(root: Path, count: int) -> int:
    hosts = [f"webmail.client-{number}.test" for number in range(count)]
    with timed(f"{count} drops laid down and taken in (no part of the console)"):
        lay_down(root, hosts)
        take_in(root)
    with running_console(root) as console:
        console.add_user("anna", Role.ADMIN)
        client = sign_in(console)
        with timed("the first overview: every site looked at"):
            assert client.get("/").status == 200
        missed = [what for what, path in PAGES.items() if not is_reached(client, what, path)]
        missed += after_a_change(console, client, hosts[0])
    say("figures missed", ", ".join(missed) or "none")
    return 1 if missed else 0


def take_in(root: Path) -> None:
    from certstore.store.writer import StoreWriter
    from certstore.watch.watcher import DropWatcher

    with StoreWriter.acquire(root) as writer:
        watcher = DropWatcher(writer, scan_seconds=3600)
        watcher.start()
        wait(lambda: watcher.is_idle, seconds=3600)
        watcher.stop()


def is_reached(client: Client, what: str, path: str) -> bool:
    times, size = [], 0
    for _ in range(ROUNDS):
        began = time.perf_counter()
        answer = client.get(path)
        times.append(1000 * (time.perf_counter() - began))
        assert answer.status == 200, answer.status
        size = len(answer.body)
    median = statistics.median(times)
    say(what, f"median {median:.0f} ms, worst {max(times):.0f} ms, {size / 1024:.0f} KB")
    return median <= MOST_MILLISECONDS and size <= MOST_KILOBYTES * 1024


def after_a_change(console: RunningConsole, client: Client, site: str) -> list[str]:
    """What one changed site costs the next request for the overview."""
    api = console.api()
    began = time.perf_counter()
    assert api.send("PUT", f"/api/v1/sites/{site}/settings", {"host": site, "contact": ["a@x.test"]}).status == 200
    changed = 1000 * (time.perf_counter() - began)
    assert client.get(f"/sites/{site}").status == 200
    say("one site changed through the API", f"{changed:.0f} ms")
    return []


if __name__ == "__main__":
    sys.exit(main())
