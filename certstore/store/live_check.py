"""Whether the live version of a site can be served, where that was not tried on this machine with this TLS library.

An older release may have made a version live that no listener can load, and a new release of the library may refuse
what the old one took. The workers then serve another version of the site; here the site gets its problem. What was
tried stays known over restarts, so that a start with 10,000 sites tries only what is new.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from dataclasses import dataclass

from certstore.model import layout as names
from certstore.model.layout import Layout
from certstore.model.unloadable import Unloadable
from certstore.model.version import Version
from certstore.net.tls_engine import library_in_force
from certstore.store.trial import Trial
from certstore.store.versions import VersionUnusable, live_number, read_files, read_version, stand_ins
from certstore.store.writer_state import SiteChange, SiteProblem, WriterState

_STAND_INS = 20
_TRIED_FILES = (names.FULLCHAIN, names.PRIVKEY, names.FULLCHAIN_RSA, names.PRIVKEY_RSA)


@dataclass(frozen=True, slots=True)
class Untried:
    """A live version, and the token under which it counts as tried."""

    site: str
    number: int
    token: str


def untried(state: WriterState, site: str) -> Untried | None:
    """The live version, if it has to be tried. Opens no file."""
    number = live_number(state.layout, site)
    if number is None or state.tried.get(site) == (token := _token(state.layout, site, number)):
        return None
    return Untried(site, number, token)


def try_live(layout: Layout, trial: Trial, version: Untried) -> Unloadable | None:
    """The slow part, which needs no lock. Raises OSError where the machine is to blame."""
    reason = _reason(layout, trial, version.site, version.number)
    if reason is None:
        return None
    others = stand_ins(layout, version.site, version.number)[:_STAND_INS]
    served = next((each for each in others if _reason(layout, trial, version.site, each) is None), None)
    return Unloadable(version.site, version.number, reason, served)


def keep_verdict(state: WriterState, version: Untried, found: Unloadable | None) -> None:
    """Set or solve the site's problem. A verdict about what is no longer live does not count."""
    if live_number(state.layout, version.site) != version.number or version.site not in state.registry:
        return
    message = None
    if found is not None:
        message = (
            f"{found.message}; install a certificate again (certedge cert install {version.site} ...), or make another "
            f"version live (certedge cert rollback {version.site} VERSION)"
        )
    state.commit(SiteChange(version.site, problems={SiteProblem.LIVE_UNLOADABLE: message}))
    if found is None:
        _remember(state, version.site, version.token)


def remember_tried(state: WriterState, site: str, number: int) -> None:
    """This version has passed its trial and is live now."""
    _remember(state, site, _token(state.layout, site, number))


def tried_with(state: WriterState, version: Version) -> str:
    """The TLS library that has loaded this version here, if it is the live one; else an empty text."""
    is_tried = state.tried.get(version.site) == _token(state.layout, version.site, version.number)
    return library_in_force() if is_tried else ""


def _remember(state: WriterState, site: str, token: str) -> None:
    # What a full disk or a power cut loses is tried again.
    with contextlib.suppress(OSError):
        state.tried.put(site, token, is_durable=False)


def _reason(layout: Layout, trial: Trial, site: str, number: int) -> str | None:
    try:
        files = read_files(layout, site, read_version(layout, site, number))
    except VersionUnusable as error:
        return str(error)
    except OSError as error:
        return (error.strerror or type(error).__name__).lower()
    return trial(files)


def _token(layout: Layout, site: str, number: int) -> str:
    """Differs when the version, its files or the TLS library differ."""
    parts = [str(number), library_in_force()]
    for name in _TRIED_FILES:
        with contextlib.suppress(OSError):
            status = os.stat(f"{layout.archive}/{site}/{number}/{name}")  # noqa: PTH116  for every site at every start
            parts.append(f"{name} {status.st_size} {status.st_mtime_ns}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
