"""Writers that rewrite key and chain in small pieces, without care: what goes live was whole in somebody's hands once.

`CERTEDGE_DEEP=1` keeps at it for thirty seconds instead of four.
"""

import itertools
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from certstore.store.versions import read_version, version_numbers
from certstore.store.writer import StoreWriter
from certstore.watch.watcher import DropWatcher
from tests.certificates import CertificateAuthority, Issued
from tests.certstore.stores import OTHER, SITE, acquire, assert_live_is_whole, drop_pair, served
from tests.deadlines import wait_for

SECONDS = 30.0 if os.environ.get("CERTEDGE_DEEP") else 4.0


def in_place(path: Path, content: bytes, chance: random.Random) -> None:
    """Truncated and written again piece by piece: the worst of all habits."""
    with path.open("wb", buffering=0) as file:
        for start in range(0, len(content), 700):
            file.write(content[start : start + 700])
            time.sleep(chance.choice((0, 0, 0.001, 0.01)))


def key_then_chain(folder: Path, issued: Issued, chance: random.Random) -> None:
    in_place(folder / "privkey.pem", issued.privkey_pem, chance)
    in_place(folder / "fullchain.pem", issued.fullchain_pem, chance)


def chain_then_key(folder: Path, issued: Issued, chance: random.Random) -> None:
    in_place(folder / "fullchain.pem", issued.fullchain_pem, chance)
    in_place(folder / "privkey.pem", issued.privkey_pem, chance)


def four_files(folder: Path, issued: Issued, chance: random.Random) -> None:
    parts = {"cert": issued.cert_pem, "privkey": issued.privkey_pem, "chain": issued.chain_pem}
    for name in chance.sample(sorted(parts), k=3):
        in_place(folder / f"{name}.pem", parts[name], chance)


def one_file(folder: Path, issued: Issued, chance: random.Random) -> None:
    in_place(folder / "all.pem", issued.combined_pem, chance)


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[StoreWriter]:
    with acquire(tmp_path, settle=timedelta(milliseconds=300)) as writer:
        watcher = DropWatcher(writer, scan_seconds=1)
        watcher.start()
        try:
            yield writer
        finally:
            watcher.stop()


@pytest.mark.slow
@pytest.mark.parametrize("rewrite", [key_then_chain, chain_then_key, four_files, one_file])
def test_a_torn_drop_never_goes_live(
    watched: StoreWriter, ca: CertificateAuthority, rewrite: Callable[[Path, Issued, random.Random], None]
) -> None:
    root, chance = watched.layout.root, random.Random(rewrite.__name__)
    pairs = [ca.issue(SITE) for _ in range(6)]
    whole = {(each.fingerprint, each.chain_pem) for each in pairs}
    bystander = ca.issue(OTHER)
    drop_pair(watched, OTHER, bystander)
    folder = watched.layout.domains / SITE
    folder.mkdir()
    ends, checks = time.monotonic() + SECONDS, 0
    failures: list[str] = []

    def watch_live() -> None:
        nonlocal checks
        while time.monotonic() < ends:
            if (root / "live" / SITE).is_symlink():
                try:
                    assert_live_is_whole(root, SITE)
                except Exception as error:  # noqa: BLE001  raised below, in the test's own thread
                    failures.append(repr(error))
                checks += 1
            time.sleep(0.002)

    onlooker = threading.Thread(target=watch_live)
    onlooker.start()
    last = pairs[0]
    for last in itertools.cycle(pairs):
        rewrite(folder, last, chance)
        # Long pauses too, so that drops are installed in between and not only at the end.
        time.sleep(chance.choice((0, 0.02, 0.2)))
        if time.monotonic() > ends:
            break
    onlooker.join()

    wait_for(lambda: served(root, SITE) == last.fingerprint, "the last drop to be served")
    assert failures == []
    assert checks > 10
    for number in version_numbers(watched.layout, SITE):
        version = read_version(watched.layout, SITE, number)
        chain_pem = (watched.layout.version(SITE, number) / "chain.pem").read_bytes()
        assert (version.fingerprint, chain_pem) in whole
    assert served(root, OTHER) == bystander.fingerprint
    assert len(watched.records(OTHER)) == 1
