"""Actions on a site's certificate: preview and install uploads, roll back, download the public chain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from certstore.admin.actions.action import Actions, Actor
from certstore.control.commands.requests import InstallPreviewRequest, RollbackRequest, SetSiteRequest
from certstore.control.commands.results import InstallResult
from certstore.control.protocol import Fault, RequestFailed
from certstore.model.certificate.bundle import CertificateBundle, KeyPair, Refused
from certstore.model.certificate.dropped_file import DroppedFile
from certstore.model.certificate.findings import Finding
from certstore.model.certificate.pem import FILE_LIMIT
from certstore.model.console.authorization import Action
from certstore.model.layout import FULLCHAIN
from certstore.model.names import covers
from certstore.model.record import Outcome
from certstore.model.settings.models import Source
from certstore.model.version import chain_length
from certstore.store.writer import Preview, TooBusy

FILES_MOST = 20


@dataclass(frozen=True, slots=True)
class PreviewFacts:
    """What a preview shows. `pair` is None if nothing can be installed; `findings` say why. `is_forcible`: a person may
    overrule the refusal, and `pair` is what `force` would install. `covered` and `missing` are names of the site."""

    pair: KeyPair | None = field(repr=False)
    has_rsa_pair: bool
    chain_length: int
    covered: tuple[str, ...]
    missing: tuple[str, ...]
    findings: tuple[Finding, ...]
    is_refused: bool
    is_forcible: bool

    @classmethod
    def of(cls, preview: Preview) -> PreviewFacts:
        verdict = preview.verdict
        is_refused = isinstance(verdict, Refused)
        bundle = verdict if isinstance(verdict, CertificateBundle) else preview.forced
        pair = bundle.primary if bundle is not None else None
        dns_names = pair.dns_names if pair is not None else ()
        return cls(
            pair,
            bundle is not None and bundle.rsa is not None,
            chain_length(pair) if pair is not None else 0,
            tuple(name for name in preview.names if covers(dns_names, name)),
            tuple(name for name in preview.names if not covers(dns_names, name)),
            verdict.findings if isinstance(verdict, Refused) else verdict.problems,
            is_refused,
            is_refused and pair is not None,
        )


def preview(actions: Actions, actor: Actor, site: str, files: Sequence[DroppedFile], password: bytes | None) -> Preview:
    """Read files and check them for the site; nothing changes."""
    return _read(actions, actor, Action.CERT_PREVIEW, site, files, password)


def install_files(
    actions: Actions,
    actor: Actor,
    site: str,
    files: Sequence[DroppedFile],
    password: bytes | None,
    *,
    force: bool = False,
) -> InstallResult:
    """Read files, and serve them; see `install`."""
    read = _read(actions, actor, Action.CERT_INSTALL, site, files, password)
    return install(actions, actor, read, force=force)


def install(actions: Actions, actor: Actor, preview: Preview, *, force: bool = False) -> InstallResult:
    """Serve what a preview has read. A site whose certificate was ordered, or that used the main one, switches to
    files. Refused files change nothing; a refusal is a result, with its findings.
    """
    site = preview.site
    actions.entry(actor, Action.CERT_INSTALL, site)
    with actions.audited(actor, Action.CERT_INSTALL, site) as audited, actions.edits:
        settings = actions.context.writer.settings(site)
        has_other_source = settings is not None and settings.certificate in (Source.ACME, Source.MAIN)
        refused = preview.verdict if isinstance(preview.verdict, Refused) else None
        if has_other_source and refused is not None and not (force and preview.forced is not None):
            # The command would refuse it too, but for its source instead of for what is wrong with the files.
            code, findings = refused.findings[0].code, refused.findings
            result = InstallResult(site, Outcome.REFUSED, code, None, None, refused.message, findings, ())
        else:
            if has_other_source:
                actions.context.perform(SetSiteRequest(site, {"certificate": Source.FILE.value}))
            result = actions.context.perform(InstallPreviewRequest(preview, force))
        audited.detail = result.message
        audited.outcome = "done" if result.is_accepted else result.outcome.value
    return result


def _read(
    actions: Actions, actor: Actor, action: Action, site: str, files: Sequence[DroppedFile], password: bytes | None
) -> Preview:
    """Raises Denied, RequestFailed."""
    actions.entry(actor, action, site)
    if len(files) > FILES_MOST:
        raise RequestFailed(Fault.TOO_LARGE, f"{len(files)} files were uploaded; at most {FILES_MOST} are allowed")
    for file in files:
        if len(file.content) > FILE_LIMIT:
            remedy = "a certificate with its key and chain takes a few kilobytes: check which file you chose"
            raise RequestFailed(Fault.TOO_LARGE, f"{file.name!r:.80} is larger than 1 MB", remedy)
    try:
        return actions.context.writer.preview(site, files, password=password, caller=actor.who)
    except TooBusy as error:
        raise RequestFailed(Fault.BUSY, str(error), "try again when they have been read") from None


def activate(actions: Actions, actor: Actor, site: str, version: int | None) -> InstallResult:
    """Make a kept version live again; None: the previous one."""
    actions.entry(actor, Action.CERT_ACTIVATE, site)
    return actions.perform(actor, Action.CERT_ACTIVATE, site, RollbackRequest(site, version), f"version {version}")


def public_chain(actions: Actions, actor: Actor, site: str) -> bytes:
    """The certificate and its chain as they are served; no key."""
    actions.entry(actor, Action.SITE_VIEW, site)
    layout, live = actions.context.writer.layout, actions.context.writer.live_version(site)
    if live is None:
        raise RequestFailed(Fault.NOT_FOUND, f"{site} has no certificate", "its clients get the main certificate")
    return (layout.version(site, live.number) / FULLCHAIN).read_bytes()
