"""The files of a Debian of another release, made by debootstrap once and kept for the next run.

    tree = debian_tree("trixie", ("systemd-sysv", "dovecot-imapd"))

Needs root, debootstrap and, the first time, a Debian mirror; where one is missing, the test is skipped by name. Nobody
may change the tree: `booted_systemd` boots a copy of it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Collection
from pathlib import Path

import pytest

from tests.peers import MISSING_PEER, do_without, require_peer

MIRROR = "http://deb.debian.org/debian"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


def tests_cache() -> Path:
    """Where tests keep what takes long to make, for all working copies."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "certedge-tests"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def debian_tree(release: str, packages: Collection[str]) -> Path:
    """The root folder of a minimal system of this release with these packages."""
    program = require_peer("debootstrap")
    if os.geteuid() != 0:
        do_without(f"a Debian {release} (run the tests as root)")
    digest = hashlib.sha256(" ".join(sorted(packages)).encode()).hexdigest()[:12]
    tree = tests_cache() / f"debian-{release}-{digest}"
    with tree.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another process of this run may be making it
        if not tree.exists():
            _make(program, release, packages, tree)
    return tree


def _make(program: Path, release: str, packages: Collection[str], tree: Path) -> None:
    unfinished = tree.with_suffix(".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    command = [
        str(program), "--variant=minbase", f"--keyring={KEYRING}", f"--include={','.join(packages)}",
        release, str(unfinished), MIRROR,
    ]  # fmt: skip
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        shutil.rmtree(unfinished, ignore_errors=True)
        # Not `do_without`: a mirror that is away for an hour must not stop a change.
        words = (made.stdout + made.stderr).strip()[-200:]
        pytest.skip(f"{MISSING_PEER}a Debian {release} (debootstrap needs a mirror: {words!r})")
    for each in (unfinished / "var/cache/apt/archives").glob("*.deb"):
        each.unlink()
    unfinished.rename(tree)
