"""The verbs on sites: add, set, remove. The only code that writes a site.yaml, and the only way a site goes.

A removed site leaves a tombstone: neither what still lies in its drop place nor a change of it brings the site back,
only `add_site` does, and then what lies there is judged afresh. Runs under the writer's lock.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from certstore.model.record import Outcome, Record
from certstore.model.settings.models import SiteSettings
from certstore.model.site_registry import KnownSite
from certstore.model.snapshot import MAIN, SiteEntry
from certstore.store.errors import InvalidSite, UnknownSite
from certstore.store.records import SiteRecords, write_records
from certstore.store.site_settings import SETTINGS, is_usable_key
from certstore.store.site_yaml import stamp_of, write_site_file
from certstore.store.versions import live_number, remove_live
from certstore.store.writer_state import Books, Standing


def add_site(books: Books, site: str, settings: SiteSettings) -> SiteEntry:
    """Raises InvalidSite, NotWritable, or OSError when the books can't be kept."""
    if not is_usable_key(site):
        raise InvalidSite(f"{site!r} can't be a site: use its host name in lower case, or a word of a-z, 0-9 and -")
    if site in books.roster:
        raise InvalidSite(f"the site {site} is there already: use `site set` to change it")
    path = books.layout.site_yaml(site)
    write_site_file(path, settings)
    books.tombstones.drop(site)
    books.drops.drop(site)
    books.learn(KnownSite(site, settings.host, settings), stamp_of(path))
    _record(books, site, "added", f"site added: {', '.join(settings.names)}")
    return books.roster.entry(site)


def set_site(books: Books, site: str, changes: Mapping[str, Any]) -> SiteEntry:
    """Change keys of its site.yaml; None takes a key away. Raises UnknownSite, InvalidSite, NotWritable, OSError."""
    known = _known(books, site)
    current = known.settings.model_dump(mode="json", exclude_defaults=True) if known.settings else {"host": known.host}
    wanted = {key: value for key, value in (current | dict(changes)).items() if value is not None}
    try:
        settings = SiteSettings.model_validate(wanted)
    except ValidationError as error:
        raise InvalidSite(f"{site}: {_sentence(error)}") from None
    path = books.layout.site_yaml(site)
    write_site_file(path, settings)
    served = known.served
    fresh = KnownSite(site, settings.host, settings, served, known.has_drop)
    books.learn(fresh, stamp_of(path))
    books.set_problem(site, Standing.SETTINGS_INVALID, None)
    _record(books, site, "changed", f"settings changed: {', '.join(sorted(changes))}")
    return books.roster.entry(site)


def remove_site(books: Books, site: str) -> None:
    """Its names go back to main; its versions, records and files stay where they are. Raises UnknownSite,
    InvalidSite, OSError.
    """
    known = _known(books, site)
    if site == MAIN:
        raise InvalidSite("the main site can't be removed: every listener needs it")
    # From here on the removal is decided: a start after a kill finishes it.
    books.tombstones.put(
        site, {"at": books.clock().isoformat(), "host": known.host, "version": live_number(books.layout, site)}
    )
    remove_live(books.layout, site)
    books.forget(site)
    _record(books, site, "removed", "site removed; its versions stay in the archive, its names are served by main")
    write_records(books.layout, site, SiteRecords(books.records(site).attempts))
    books.problems.pop(site, None)


def _known(books: Books, site: str) -> KnownSite:
    known = books.roster.get(site)
    if known is None:
        raise UnknownSite(site)
    return known


def _record(books: Books, site: str, reason: str, message: str) -> None:
    books.record(site, Record(books.clock(), SETTINGS, Outcome.DONE, reason, message))


def _sentence(error: ValidationError) -> str:
    """Key and fault; the values stay out, as they may be anything."""
    faults = [
        f"{'.'.join(map(str, each['loc'])) or 'site'}: {each['msg']}" for each in error.errors(include_input=False)
    ]
    return "; ".join(faults)
