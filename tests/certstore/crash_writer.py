"""The processes that the crash test kills: each takes one drop after another until it dies.

    python -m tests.certstore.crash_writer STORE FOLDER

For every line on stdin a writer is forked (importing everything anew would take longer than the rest of the test) and
its pid printed; `ready` follows when it holds the store, `dead` when it is gone. FOLDER holds ready-made pairs that are
dropped in turn for one site.
"""

import itertools
import os
import sys
from datetime import timedelta
from pathlib import Path

from certstore.model.names import is_public_suffix
from certstore.store import StoreWriter
from tests.certstore.stores import SITE


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
            writer.look(SITE)
            if number % 7 == 6:
                writer.rollback(SITE)


def main(root: Path, pairs: Path) -> None:
    contents = [path.read_bytes() for path in sorted(pairs.iterdir())]
    is_public_suffix("example.com")
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            write_until_killed(root, contents)
        tell(str(child))
        os.waitpid(child, 0)
        tell("dead")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
