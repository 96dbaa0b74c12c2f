"""The processes that the crash test of adoption kills: each takes over what another node has, until it dies.

    python -m tests.certstore.store.crash_adopter STORE FOLDER SITES

As `crash_writer`: for every line on stdin, which holds a number, a writer is forked that dies before it makes its Nth
change to the file system, or prints `survived`. FOLDER holds ready-made pairs; SITES sites get the next one of them.
"""

import itertools
import os
import signal
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from certstore.model.certificate.bundle import CertificateBundle, KeyPair, read_bundle
from certstore.model.certificate.dropped_file import DroppedFile
from certstore.model.layout import COMBINED
from certstore.model.names import is_public_suffix
from certstore.model.version import Version, chain_length
from certstore.store.adoption import Declaration, HeadAdoption, SiteAdoption
from certstore.store.versions import digest_of, files_of, version_numbers
from certstore.store.writer import StoreWriter
from tests.certstore.store.crash_writer import CHANGES, tell


def sites(count: int) -> list[str]:
    return [f"s{number}.test" for number in range(count)]


def head(site: str, pem: bytes) -> HeadAdoption:
    """As another node describes it."""
    bundle = read_bundle([DroppedFile("pair.pem", pem)], now=datetime.now(UTC), force=True)
    assert isinstance(bundle, CertificateBundle)
    files = files_of(bundle)
    described = {name: getattr(bundle.primary, name) for name in KeyPair.__slots__ if name in Version.__slots__}
    version = Version(
        site=site, number=1, made_at=datetime.now(UTC), source="/drop", digest=digest_of(files), **described,
        chain_length=chain_length(bundle.primary), has_rsa_pair=False, problems=(),
    )  # fmt: skip
    return HeadAdoption(version, "edge-a", None, files)


def adopt_once(root: Path, contents: list[bytes], steps: int, count: int) -> None:
    heads = {pem: head("x.test", pem) for pem in contents}
    changes = itertools.count(1)

    def die_before_the_last(event: str, arguments: tuple[Any, ...]) -> None:
        is_change = event in CHANGES or (event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR))
        if is_change and next(changes) == steps:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(die_before_the_last)
    with StoreWriter.acquire(root, keep=2, settle=timedelta(), main_host="localhost") as writer:
        declarations, wanted = [], []
        for number, site in enumerate(sites(count), 10):
            declarations.append(
                SiteAdoption(site, "edge-a", writer.declaration(site), Declaration(site, None, {site: number}))
            )
            live = writer.live_version(site)
            before = (writer.layout.live(site) / COMBINED).read_bytes() if live is not None else b""
            chosen = heads[next(each for each in contents if each != before)]
            taken = max(version_numbers(writer.layout, site), default=0) + 1
            version = replace(chosen.version, site=site, number=taken)
            wanted.append(replace(chosen, version=version, before=live.digest if live is not None else None))
        writer.adopt_declarations(declarations)
        writer.adopt_heads(wanted)


def main(root: Path, pairs: Path, count: int) -> None:
    contents = [path.read_bytes() for path in sorted(pairs.iterdir())]
    is_public_suffix("example.com")
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                adopt_once(root, contents, int(line), count)
                tell("survived")
            except Exception as error:  # noqa: BLE001  reported to the test, which fails
                tell(f"broke: {error!r}")
            os._exit(0)
        os.waitpid(child, 0)
        tell("dead")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
