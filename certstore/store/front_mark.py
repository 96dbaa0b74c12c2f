"""The mark of a front, `cluster/front.json` of the store: it stands beside the keys, which may lie elsewhere.

Read before the store is opened, so that not even the first look at the drop folders adopts anything.
"""

from __future__ import annotations

import json
from contextlib import suppress

from certstore.files.atomic import make_folder, replace_file
from certstore.model.front import Front
from certstore.model.layout import Layout

_LIMIT = 4096


def read_front(layout: Layout) -> Front | None:
    """None where this store is no front's. A mark that can't be understood marks a front all the same."""
    try:
        with layout.cluster_front.open("rb") as file:
            content = file.read(_LIMIT)
    except OSError:
        return None
    try:
        return Front.from_json(json.loads(content))
    except (KeyError, TypeError, ValueError, RecursionError):
        return Front("this node")


def write_front(layout: Layout, front: Front | None) -> None:
    """Raises OSError."""
    path = layout.cluster_front
    if front is None:
        with suppress(FileNotFoundError):
            path.unlink()
    elif read_front(layout) != front:
        if not path.parent.is_dir():
            make_folder(path.parent, 0o700)
        replace_file(path, json.dumps(front.to_json()).encode() + b"\n", 0o600, layout.temporary)
