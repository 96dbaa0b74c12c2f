"""Actions on a site's certificate: looking at files before they count, taking them in, going back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from certstore.admin.actions.action import Actions, Actor
from certstore.control.commands.requests import InstallRequest, RollbackRequest, SetSiteRequest
from certstore.control.protocol import Fault, RequestFailed
from certstore.model.certificate.bundle import CertificateBundle, KeyPair, Refused, read_bundle
from certstore.model.certificate.dropped_file import DroppedFile
from certstore.model.certificate.findings import Finding
from certstore.model.certificate.pem import FILE_LIMIT
from certstore.model.console.authorization import Action
from certstore.model.layout import FULLCHAIN
from certstore.model.names import covers
from certstore.model.settings.models import Source
from certstore.model.snapshot import MAIN
from certstore.model.version import chain_length
from certstore.store.unlocking import Unlocker

FILES_MOST = 20


@dataclass(frozen=True, slots=True)
class Preview:
    """What is in uploaded files. `pair` is None where they are refused; then `findings` say why, and `is_forcible`
    whether a person may overrule that. `covered` and `missing` are names of the site."""

    pair: KeyPair | None = field(repr=False)
    has_rsa_pair: bool
    chain_length: int
    covered: tuple[str, ...]
    missing: tuple[str, ...]
    findings: tuple[Finding, ...]
    is_refused: bool
    is_forcible: bool

    def to_json(self) -> dict[str, Any]:
        pair = self.pair
        certificate = None
        if pair is not None:
            certificate = {
                "dns_names": list(pair.dns_names),
                "not_before": pair.not_before.isoformat(),
                "not_after": pair.not_after.isoformat(),
                "fingerprint": pair.fingerprint,
                "issuer": pair.issuer,
                "serial": pair.serial,
                "key": f"{pair.key_kind} {pair.key_bits}" + (" + rsa" if self.has_rsa_pair else ""),
                "chain_length": self.chain_length,
                "is_self_signed": pair.is_self_signed,
            }
        return {
            "accepted": not self.is_refused,
            "is_forcible": self.is_forcible,
            "certificate": certificate,
            "covered": list(self.covered),
            "missing": list(self.missing),
            "findings": [
                {"code": str(each.code), "message": each.message, "is_forcible": each.is_forcible}
                for each in self.findings
            ],
        }


def preview(actions: Actions, actor: Actor, site: str, files: Sequence[DroppedFile], password: bytes | None) -> Preview:
    """Look, and change nothing."""
    actions.entry(actor, Action.CERT_PREVIEW, site)
    return _look(actions, site, files, password)


def _look(actions: Actions, site: str, files: Sequence[DroppedFile], password: bytes | None) -> Preview:
    check_size(files)
    entry, now = actions.context.writer.site(site), actions.context.clock()
    is_unnamed_main = site == MAIN and actions.context.writer.settings(site) is None
    settings = actions.context.writer.settings(site)
    names = () if is_unnamed_main else settings.names if settings is not None else (entry.host,)
    verdict = read_bundle(files, password=password, now=now, names=names, unlock=Unlocker())
    refused = verdict if isinstance(verdict, Refused) else None
    if refused is not None and refused.is_forcible:
        # What it would be, for the person who decides whether to overrule.
        verdict = read_bundle(files, password=password, now=now, names=names, force=True, unlock=Unlocker())
    pair = verdict.primary if isinstance(verdict, CertificateBundle) else None
    found = refused.findings if refused is not None else ()
    problems = verdict.problems if isinstance(verdict, CertificateBundle) and refused is None else ()
    dns_names = pair.dns_names if pair is not None else ()
    return Preview(
        pair,
        isinstance(verdict, CertificateBundle) and verdict.rsa is not None,
        chain_length(pair) if pair is not None else 0,
        tuple(name for name in names if covers(dns_names, name)),
        tuple(name for name in names if not covers(dns_names, name)),
        (*found, *problems),
        refused is not None,
        refused is not None and refused.is_forcible and pair is not None,
    )


def check_size(files: Sequence[DroppedFile]) -> None:
    """Raises VerbFailed."""
    if len(files) > FILES_MOST:
        raise RequestFailed(Fault.TOO_LARGE, f"{len(files)} files were given; at most {FILES_MOST} are read at once")
    for file in files:
        if len(file.content) > FILE_LIMIT:
            remedy = "a certificate with its key and chain has a few kilobytes: check which file was chosen"
            raise RequestFailed(Fault.TOO_LARGE, f"{file.name!r:.80} is larger than 1 MB", remedy)


def install(
    actions: Actions,
    actor: Actor,
    site: str,
    files: Sequence[DroppedFile],
    password: bytes | None,
    *,
    force: bool = False,
) -> dict[str, Any]:
    """Take files in, and serve them. A site that was ordered for, or used main, gets its certificate from files from
    now on. Files that would be refused change nothing; that is a result, with its findings.
    """
    actions.entry(actor, Action.CERT_INSTALL, site)
    with actions.audited(actor, Action.CERT_INSTALL, site) as audited, actions.edits:
        looked = _look(actions, site, files, password)
        settings = actions.context.writer.settings(site)
        has_other_source = settings is not None and settings.certificate in (Source.ACME, Source.MAIN)
        if has_other_source and (not looked.is_refused or (force and looked.is_forcible)):
            actions.context.perform(SetSiteRequest(site, {"certificate": Source.FILE.value}))
        if has_other_source and looked.is_refused and not (force and looked.is_forcible):
            # The verb would refuse it too, in words about the source instead of about the files.
            facts = _refused_facts(site, looked)
        else:
            facts = actions.context.perform(InstallRequest(site, tuple(files), password, force)).to_json()
        audited.detail = str(facts["message"])
        audited.outcome = "done" if facts["outcome"] in ("done", "noted") else str(facts["outcome"])
    return facts


def _refused_facts(site: str, looked: Preview) -> dict[str, Any]:
    findings = looked.to_json()["findings"]
    message = "; ".join(finding["message"] for finding in findings)
    return {
        "site": site,
        "outcome": "refused",
        "reason": findings[0]["code"],
        "version": None,
        "fingerprint": None,
        "message": message,
        "findings": findings,
        "problems": [],
    }


def activate(actions: Actions, actor: Actor, site: str, version: int | None) -> dict[str, Any]:
    """Make a kept version live again; None: the one that was before."""
    actions.entry(actor, Action.CERT_ACTIVATE, site)
    with actions.audited(actor, Action.CERT_ACTIVATE, site, f"version {version}") as audited:
        facts = actions.context.perform(RollbackRequest(site, version)).to_json()
        audited.detail = str(facts["message"])
    return facts


def public_chain(actions: Actions, actor: Actor, site: str) -> bytes:
    """Leaf and chain as they are served; no key."""
    actions.entry(actor, Action.SITE_VIEW, site)
    layout, live = actions.context.writer.layout, actions.context.writer.live_version(site)
    if live is None:
        raise RequestFailed(Fault.NOT_FOUND, f"{site} has no certificate of its own", "it is served main's")
    return (layout.version(site, live.number) / FULLCHAIN).read_bytes()
