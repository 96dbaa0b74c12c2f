"""The processes of the audit log's crash test: each writes entries until it kills itself.

    python -m tests.certstore.people.audit_writer FOLDER

For N = 1, 2, 3, … it forks a process that kills itself before its Nth change to the file system, until one reaches the
end. `FOLDER/N/` is its log, `FOLDER/N/acknowledged` lists the numbers of the entries reported as durable.
"""

import itertools
import os
import signal
import sys
from pathlib import Path
from typing import Any

from certstore.files.line_log import encode_line
from certstore.people.audit_files import AuditFiles
from tests.certstore.store.crash_writer import CHANGES

ENTRIES, LARGEST, KEPT = 12, 60, 2


def write_and_die(folder: Path, steps: int) -> None:
    changes = itertools.count(1)

    def die_before_the_last(event: str, arguments: tuple[Any, ...]) -> None:
        is_change = event in CHANGES or (event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR))
        if is_change and next(changes) == steps:
            os.kill(os.getpid(), signal.SIGKILL)

    files = AuditFiles(folder, largest=LARGEST, kept=KEPT)
    acknowledged = os.open(folder / "acknowledged", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    sys.addaudithook(die_before_the_last)
    for number in range(ENTRIES):
        files.append(encode_line({"number": number, "detail": "something was done"}))
        os.write(acknowledged, b"%d\n" % number)


def main() -> None:
    for steps in itertools.count(1):
        folder = Path(sys.argv[1]) / str(steps)
        folder.mkdir()
        pid = os.fork()
        if pid == 0:
            write_and_die(folder, steps)
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        if not os.WIFSIGNALED(status):
            return


if __name__ == "__main__":
    main()
