"""The processes that the crash test kills: each takes one drop after another until it dies.

    python -m tests.certstore.store.crash_writer STORE FOLDER

For every line on stdin a writer is forked (importing everything anew would take longer than the rest of the test) and
its pid printed; `ready` follows when it holds the store, `dead` when it is gone. FOLDER holds ready-made pairs that are
dropped in turn for one site. A number on the line lets the writer die by its own hand before it makes its Nth change to
the file system, or print `survived` when one start, drop and rollback take fewer.
"""

import itertools
import os
import signal
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from certstore.model.layout import COMBINED
from certstore.model.names import is_public_suffix
from certstore.store.writer import StoreWriter
from tests.certstore.stores import SITE

CHANGES = {"os.rename", "os.symlink", "os.mkdir", "os.remove", "os.rmdir", "os.chmod", "os.truncate"}
"""Audit events, raised before the change that they name."""


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def write_until_killed(root: Path, contents: list[bytes]) -> None:
    with StoreWriter.acquire(root, keep=3, settle=timedelta(), main_host="localhost") as writer:
        tell("ready")
        place = writer.layout.drop_file(SITE)
        # Where the one before was killed does not matter: every content differs from the last.
        for number in itertools.count(os.getpid()):
            place.write_bytes(contents[number % len(contents)])
            writer.check(SITE)
            if number % 7 == 6 and len(writer.versions(SITE)) > 1:
                writer.rollback(SITE)


def write_once(root: Path, contents: list[bytes], steps: int) -> None:
    changes = itertools.count(1)

    def die_before_the_last(event: str, arguments: tuple[Any, ...]) -> None:
        is_change = event in CHANGES or (event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR))
        if is_change and next(changes) == steps:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(die_before_the_last)
    with StoreWriter.acquire(root, keep=2, settle=timedelta(), main_host="localhost") as writer:
        # A pair that is not live, in a file that was never decided: otherwise there would be little to do.
        live = (writer.layout.live(SITE) / COMBINED).read_bytes()
        pair = next(each for each in contents if each != live)
        writer.layout.drop_file(SITE).write_bytes(b"%d\n%b" % (steps, pair))
        writer.check(SITE)
        writer.rollback(SITE)


def work(root: Path, contents: list[bytes], steps: int) -> None:
    """In the child; does not return."""
    try:
        if steps:
            write_once(root, contents, steps)
        else:
            write_until_killed(root, contents)
        tell("survived")
    except Exception as error:  # noqa: BLE001  reported to the test, which fails
        tell(f"broke: {error!r}")
    os._exit(0)


def main(root: Path, pairs: Path) -> None:
    contents = [path.read_bytes() for path in sorted(pairs.iterdir())]
    is_public_suffix("example.com")
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            work(root, contents, int(line.strip() or 0))
        tell(str(child))
        os.waitpid(child, 0)
        tell("dead")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
