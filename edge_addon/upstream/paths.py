"""Opens files and sockets that a site's settings name, wherever their links lead by now, unless that is into the store.

The store checked the paths when it took the settings over. Since then, whoever may write in one of the folders on the
way may have put a link there, and the service reads every key. Knows no connections.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def opened(path: Path, flags: int, outside: Path | None) -> Iterator[str]:
    """A path that leads to the file or socket which was opened, whatever becomes of `path`.

    Raises OSError, also where it lies below `outside`.
    """
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        held = f"/proc/self/fd/{descriptor}"
        if outside is not None and Path(held).readlink().is_relative_to(os.path.realpath(outside)):
            raise PermissionError(errno.EACCES, "it lies in the store", str(path))
        yield held
    finally:
        os.close(descriptor)
