"""Which site a name in the drop places stands for: a folder by its own name, a file by the site's key or host.

Answers from the books; looks at no file. What can be no site is not passed over in silence.
"""

from __future__ import annotations

from certstore.model.layout import DROP_SUFFIX
from certstore.model.text import shown
from certstore.store.site_settings import is_usable_key, may_be_bare
from certstore.store.writer_state import WriterState


def site_of_place(state: WriterState, name: str, *, is_folder: bool) -> str | None:
    """The key, maybe of a site that does not exist yet; None, with a word in the log, for a name that is no site's.

    `name` is that of an entry of domains/.
    """
    site = _site(state, name, is_folder=is_folder)
    path = f"{state.layout.domains}/{shown(name)}"  # whoever may drop here is not to write lines of the log
    if site is None and (is_folder or name.endswith(DROP_SUFFIX)):
        state.log_once(f"{path} is ignored: its name is no site's key and no host name in lower-case A-labels")
    elif site in state.tombstones:
        state.log_once(f"{path} is ignored: the site {site} was removed; `certedge site add {site}` brings it back")
        return None
    return site


def _site(state: WriterState, name: str, *, is_folder: bool) -> str | None:
    if is_folder:
        return name if is_usable_key(name) else None
    stem = name.removesuffix(DROP_SUFFIX)
    if stem == name:
        return None
    if stem in state.registry and is_usable_key(stem):
        return stem
    by_host = state.registry.site_of_host(stem)
    if by_host is not None:
        return by_host
    return stem if may_be_bare(stem) else None
