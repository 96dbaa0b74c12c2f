"""Killed while it takes over what another node has, the store serves whole pairs, and the next start knows which."""

import subprocess
import sys
from pathlib import Path

import pytest

from certstore.model.layout import Layout
from certstore.store.reader import Store
from certstore.store.versions import live_number, version_numbers
from tests.certificates import CertificateAuthority
from tests.certstore.store.crash_adopter import sites
from tests.certstore.stores import assert_live_is_whole, writing

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("count", "stride"), [pytest.param(2, 1, id="two sites"), pytest.param(21, 17, id="with one sync for all")]
)
def test_a_kill_leaves_whole_pairs_live(count: int, stride: int, tmp_path: Path, ca: CertificateAuthority) -> None:
    pairs, store = tmp_path / "pairs", tmp_path / "store"
    pairs.mkdir()
    for number in range(3):
        (pairs / f"{number}.pem").write_bytes(ca.issue("x.test").combined_pem)
    with writing(store):
        pass
    command = [sys.executable, "-m", "tests.certstore.store.crash_adopter", str(store), str(pairs), str(count)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT
    ) as process:
        step, is_dead = 1, True
        while is_dead:
            is_dead = dies_before(process, step)
            assert_whole_and_repaired(store, count)
            step += stride
            assert step < 3000, "the work grows with every kill"
        assert process.stdin is not None
        process.stdin.close()
    assert all(live_number(Layout(store), site) for site in sites(count))
    assert step / stride > 20, "a handful of kills would mean that no change was counted"


def dies_before(process: subprocess.Popen[str], step: int) -> bool:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{step}\n")
    process.stdin.flush()
    lines = [process.stdout.readline().strip()]
    while lines[-1] != "dead":
        lines.append(process.stdout.readline().strip())
        assert lines[-1] or lines[-2], "the process has ended"
    assert not any(line.startswith("broke") for line in lines), lines
    return "survived" not in lines


def assert_whole_and_repaired(store: Path, count: int) -> None:
    layout = Layout(store)
    for site in sites(count):
        if live_number(layout, site) is not None:
            assert_live_is_whole(store, site)
    with writing(store) as writer:
        snapshot = Store.open(store).snapshot()
        for site in sites(count):
            version = writer.live_version(site)
            entry = snapshot.sites.get(site)
            served = entry.certificate if entry is not None else None
            assert (version.number if version else None) == (served.version if served else None)
            assert len(writer.versions(site)) == len(version_numbers(layout, site)), "what is in the archive is whole"
