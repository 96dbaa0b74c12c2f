"""Which site an entry of the drop folders belongs to (a folder by its name, a file by the site's key or host), and who
puts drops there.

Opens no file. An entry that can't be a site is logged.
"""

from __future__ import annotations

import os
import stat

from certstore.model.layout import DROP_SUFFIX, Layout
from certstore.model.names import DomainName, InvalidName
from certstore.model.text import shown
from certstore.store.counted_settings import may_be_bare
from certstore.store.site_settings import is_usable_key
from certstore.store.writer_state import WriterState


def site_of_place(state: WriterState, name: str, *, is_folder: bool) -> str | None:
    """The key of the site, perhaps of one that does not exist yet; None, with a line in the log, for any other name.

    `name` is the name of an entry of domains/.
    """
    site = _site(state, name, is_folder=is_folder)
    path = f"{state.layout.domains}/{shown(name)}"  # people who may drop files must not write lines of the log
    if site is None and (is_folder or name.endswith(DROP_SUFFIX)):
        state.log_once(f"{path} is ignored: its name is neither the key of a site nor a host name; {_advice(name)}")
    elif site in state.tombstones:
        state.log_once(f"{path} is ignored: the site {site} was removed; add it again with `certedge site add {site}`")
        return None
    return site


def _advice(name: str) -> str:
    stem = name.removesuffix(DROP_SUFFIX)
    try:
        host = DomainName.parse(stem).value
    except InvalidName:
        host = stem
    if host != stem:
        return f"rename it to {host}{name[len(stem) :]}"
    return "rename it to the host name, as in mail.example.com, or see `certedge check-config`"


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


def tenant_of(layout: Layout, site: str) -> str:
    """Who drops files for the site, as far as the file system tells: a user or a group that may write there, and is
    neither root nor the service. The site itself where it does not tell.
    """
    for path in (layout.drop_folder(site), layout.drop_file(site)):
        try:
            status = os.stat(path)  # noqa: PTH116  never raises ValueError
        except OSError:
            continue
        if status.st_uid not in (0, os.geteuid()):
            return f"user {status.st_uid}"
        if status.st_mode & stat.S_IWGRP and status.st_gid not in (0, os.getegid()):
            return f"group {status.st_gid}"
    return f"site {site}"
