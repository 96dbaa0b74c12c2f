"""Decides what `certedge import` does with each site that it found, before anything changes.

A site that exists is left as it is unless you named it with --overwrite, and never gets a certificate that is older
than its own. Pure: values in, values out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from certstore.cli.import_sources import FoundSite
from certstore.model.certificate.x509_facts import CertificateFacts
from certstore.model.settings.models import Source
from certstore.model.snapshot import MAIN
from certstore.model.text import listed
from certstore.model.version import Version

PLACEHOLDER = "self-signed"
"""The source of the certificate that main has before its first real one."""


class Action(StrEnum):
    """`FILL`: main, which has no certificate of its own yet."""

    ADD = "add"
    FILL = "fill"
    OVERWRITE = "overwrite"
    KEEP = "keep"


@dataclass(frozen=True, slots=True)
class KnownSite:
    """A site that exists here. `host` and `names` are empty where its site.yaml was not read yet; `live` None: it has
    no certificate."""

    site: str
    host: str = ""
    names: tuple[str, ...] = ()
    source: Source | None = None
    live: Version | None = None
    has_settings: bool = True

    @property
    def has_certificate(self) -> bool:
        return self.live is not None and self.live.source != PLACEHOLDER


@dataclass(frozen=True, slots=True)
class PlannedSite:
    """`site` is the key here, `host` and `additional_names` are what its site.yaml will have; `what` says it in words,
    one sentence each."""

    site: str
    action: Action
    host: str
    additional_names: tuple[str, ...]
    what: tuple[str, ...]
    found: FoundSite = field(repr=False)

    @property
    def changes(self) -> bool:
        return self.action is not Action.KEEP


def plan_sites(
    found: Iterable[FoundSite],
    known: Mapping[str, KnownSite],
    owners: Mapping[str, str],
    overwrite: Collection[str] = (),
) -> tuple[PlannedSite, ...]:
    """One decision per site that was found. `known` has the sites that exist by key, `owners` the site that owns each
    name; `overwrite` are keys of sites here."""
    hosts = {each.host: each.site for each in known.values() if each.host}
    planned: dict[str, PlannedSite] = {}
    left: list[PlannedSite] = []
    for each in found:
        key = each.site if each.site == MAIN else hosts.get(each.host, each.site)
        if key in planned:
            reason = f"not imported: {key} comes from {planned[key].found.path} already"
            left.append(PlannedSite(key, Action.KEEP, each.host, each.additional_names, (reason,), each))
            continue
        planned[key] = _plan(key, each, known.get(key), owners, is_chosen=key in overwrite)
    return (*planned.values(), *left)


def _plan(
    key: str, found: FoundSite, known: KnownSite | None, owners: Mapping[str, str], *, is_chosen: bool
) -> PlannedSite:
    if known is None:
        host, names = found.host, found.additional_names
        reason = f"new site with the certificate {_validity(found.leaf)}"
        what = (reason, _renewal(found.certificate), *_foreign(key, found, owners))
        return PlannedSite(key, Action.ADD, host, names, what, found)
    # The host that you gave main stays if the certificate is good for it.
    keeps_host = known.host in found.names if key == MAIN else known.host == found.host
    host = known.host if keeps_host else found.host
    names = tuple(each for each in (found.host, *found.additional_names) if each != host)
    action, reason = _decide(known, found, is_chosen=is_chosen, keeps_host=keeps_host)
    if action is Action.KEEP:
        return PlannedSite(key, action, host, names, (reason,), found)
    changes = _differences(known, host, names, found.certificate)
    what = (reason, *changes, _renewal(found.certificate), *_foreign(key, found, owners))
    return PlannedSite(key, action, host, names, what, found)


def _decide(known: KnownSite, found: FoundSite, *, is_chosen: bool, keeps_host: bool) -> tuple[Action, str]:
    live, allow = known.live, f"to have it overwritten: --overwrite {known.site}"
    if known.site == MAIN and not known.has_certificate and (keeps_host or not known.has_settings):
        return Action.FILL, f"gets its first certificate {_validity(found.leaf)}"
    if live is None or not known.has_certificate:
        if is_chosen:
            return Action.OVERWRITE, f"gets its first certificate {_validity(found.leaf)}"
        return Action.KEEP, f"exists and stays as it is; {allow}"
    if live.fingerprint == found.leaf.fingerprint:
        if is_chosen:
            return Action.OVERWRITE, f"has this certificate already (version {live.number})"
        return Action.KEEP, f"has this certificate already (version {live.number}) and stays as it is"
    if found.leaf.not_before < live.not_before:
        newer = f"valid from {_minute(live.not_before)}, the one found from {_minute(found.leaf.not_before)}"
        return Action.KEEP, f"stays as it is: its certificate is newer ({newer})"
    if is_chosen:
        return Action.OVERWRITE, f"version {live.number} is replaced by the certificate {_validity(found.leaf)}"
    return Action.KEEP, f"exists and stays as it is; {allow}"


def _differences(known: KnownSite, host: str, names: tuple[str, ...], source: Source) -> tuple[str, ...]:
    """What changes in its site.yaml."""
    wanted, had = {host, *names}, set(known.names)
    facts = []
    if known.host and known.host != host:
        facts.append(f"host {known.host} becomes {host}")
    if gained := sorted(wanted - had - {host}):
        facts.append(f"names added: {listed(gained)}")
    if lost := sorted(had - wanted - {known.host}):
        facts.append(f"names removed: {listed(lost)}")
    if known.source is not None and known.source is not source:
        facts.append(f"certificate: {known.source.value} becomes {source.value}")
    return tuple(facts)


def _foreign(key: str, found: FoundSite, owners: Mapping[str, str]) -> tuple[str, ...]:
    """The first site to declare a name keeps it."""
    taken = sorted(name for name in found.names if owners.get(name, key) != key)
    return tuple(f"{name} stays with the site {owners[name]}" for name in taken)


def _renewal(source: Source) -> str:
    if source is Source.ACME:
        return "ordered again when it is due"
    return "stays a file: you replace it before it expires"


def _validity(leaf: CertificateFacts) -> str:
    return f"that is valid until {leaf.not_after:%Y-%m-%d}"


def _minute(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M} UTC"
