"""Killed at any instant, the store serves a whole pair, old or new, and the next start puts the rest in order.

`CERTEDGE_KILLS` says how many kills (default 300; they take less than a tenth of a second each).
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from certstore.model.layout import Layout
from certstore.model.snapshot import MAIN
from certstore.store.reader import Store
from certstore.store.versions import live_number, version_numbers
from tests.certificates import CertificateAuthority
from tests.certstore.stores import SITE, assert_live_is_whole, writing
from tests.deadlines import wait_for

KILLS = int(os.environ.get("CERTEDGE_KILLS", "300"))
ROOT = Path(__file__).resolve().parents[3]
CHECK_REPAIR_EVERY = 10


class Nursery:
    """Starts writers and kills them."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def kill_one(self, until: Callable[[], object]) -> None:
        """Start a writer, let it have the store, and kill it when `until` returns."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        # Both print: the child that it is ready, its parent which child it is.
        pid = next(int(line) for line in (self._line(), self._line()) if line != "ready")
        until()
        os.kill(pid, signal.SIGKILL)
        assert self._line() == "dead"

    def die_before_step(self, step: int) -> bool:
        """Start a writer that dies before its Nth change; whether it did, or got through."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{step}\n")
        self._process.stdin.flush()
        lines = [self._line()]
        while lines[-1] != "dead":
            lines.append(self._line())
        assert not any(line.startswith("broke") for line in lines), lines
        return "survived" not in lines

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@pytest.fixture
def nursery(tmp_path: Path, ca: CertificateAuthority) -> Iterator[Nursery]:
    pairs = tmp_path / "pairs"
    pairs.mkdir()
    for number in range(8):
        (pairs / f"{number}.pem").write_bytes(ca.issue(SITE).combined_pem)
    command = [sys.executable, "-m", "tests.certstore.store.crash_writer", str(tmp_path / "store"), str(pairs)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT
    ) as process:
        yield Nursery(process)
        assert process.stdin is not None
        process.stdin.close()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_kill_at_any_instant_leaves_a_whole_pair_live(tmp_path: Path, nursery: Nursery) -> None:
    store, chance, seen = tmp_path / "store", random.Random(2026), set[int]()
    longest = 3 * seconds_per_drop(store, nursery)
    for kill in range(KILLS):
        nursery.kill_one(lambda: time.sleep(chance.uniform(0, longest)))
        # From the tenth version on (see below) something is live at every instant.
        seen.add(assert_live_is_whole(store, SITE))
        assert_live_is_whole(store, MAIN)
        if kill % CHECK_REPAIR_EVERY == 0:
            assert_repaired_by_the_next_start(store)
    assert_repaired_by_the_next_start(store)
    # The kills did not all fall before the first drop: versions came and went.
    assert len(seen) > KILLS / 10


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_kill_before_each_single_change_leaves_a_whole_pair_live(tmp_path: Path, nursery: Nursery) -> None:
    store = tmp_path / "store"
    with writing(store):
        pass
    nursery.kill_one(lambda: wait_for(lambda: (live_number(Layout(store), SITE) or 0) >= 2, "two versions"))
    step = 1
    while nursery.die_before_step(step):
        for site in (MAIN, SITE):
            assert_live_is_whole(store, site)
        assert_repaired_by_the_next_start(store)
        step += 1
        assert step < 200, "the work grows with every kill"
    # A start, a drop and a rollback are some dozens of changes; a handful would mean that none was counted.
    assert step > 30


def seconds_per_drop(store: Path, nursery: Nursery) -> float:
    """On this machine, now: the kills have to fall into the work, wherever that is slow."""
    layout, began = Store.open(store).layout, time.monotonic()

    def tenth_version() -> None:
        wait_for(lambda: (live_number(layout, SITE) or 0) >= 10, "ten drops to be installed", pause=0.002, seconds=60)

    nursery.kill_one(tenth_version)
    return (time.monotonic() - began) / 10


def assert_repaired_by_the_next_start(store: Path) -> None:
    with writing(store) as writer:
        assert list((store / "tmp").iterdir()) == []
        snapshot = Store.open(store).snapshot()
        for site in (MAIN, SITE):
            version = writer.live_version(site)
            if version is None:
                continue
            certificate = snapshot.sites[site].certificate
            assert certificate is not None
            assert (certificate.version, certificate.fingerprint) == (version.number, version.fingerprint)
            assert version.number == live_number(writer.layout, site)
        # Whatever is in the archive is whole, live or not.
        assert len(writer.versions(SITE)) == len(version_numbers(writer.layout, SITE))
