"""The commands that change a store: a request in, a result out that says what changed and what clients get now.

Most run on the writer's thread, one at a time, so none of them opens files that take long: the watcher does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from certstore.control.commands import requests, results
from certstore.control.protocol import Fault, RequestFailed
from certstore.files.clock import utc_now
from certstore.model.progress import Tell
from certstore.model.record import Outcome
from certstore.model.selection import select
from certstore.model.settings.loading import parse_site
from certstore.model.settings.models import SiteSettings
from certstore.model.text import listed
from certstore.store.activation import IntakeResult
from certstore.store.unlocking import Effort
from certstore.store.writer import StoreWriter

UPLOAD = "upload"
"""The source of uploads in records."""


def install(writer: StoreWriter, request: requests.InstallRequest, tell: Tell) -> results.InstallResult:
    """A refused certificate is a result, with its findings."""
    _discover(writer, request.site)
    result = writer.install_files(
        request.site, request.files, source=UPLOAD, password=request.password, force=request.force, needs_chain=True
    )
    return install_result(writer, result)


def install_preview(writer: StoreWriter, request: requests.InstallPreviewRequest, tell: Tell) -> results.InstallResult:
    return install_result(writer, writer.install(request.preview, source=UPLOAD, force=request.force, needs_chain=True))


def rollback(writer: StoreWriter, request: requests.RollbackRequest, tell: Tell) -> results.InstallResult:
    return install_result(writer, writer.rollback(request.site, request.version))


def add_site(writer: StoreWriter, request: requests.AddSiteRequest, tell: Tell) -> results.SiteResult:
    site = request.site
    if site in writer.sites():
        remedy = f"to change it: certedge site set {site}"
        raise RequestFailed(Fault.EXISTS, f"the site {site} exists already", remedy)
    writer.add_site(site, _parsed(request.settings))
    # Files that were dropped before the site existed are imported at once.
    writer.check(site, Effort.SHORT)
    return _site_result(writer, site, f"site {site} added: {listed(writer.site(site).names)}")


def set_site(writer: StoreWriter, request: requests.SetSiteRequest, tell: Tell) -> results.SiteResult:
    site = request.site
    _discover(writer, site)
    changes = {**request.changes, **dict.fromkeys(request.unset)}
    if request.add_names or request.remove_names:
        settings = writer.settings(site)
        names = changes.get("additional_names") or list(settings.additional_names if settings else ())
        if missing := [name for name in request.remove_names if name not in names]:
            raise RequestFailed(Fault.INVALID, f"{missing[0]} is not an additional name of the site: {listed(names)}")
        kept = [name for name in names if name not in request.remove_names]
        changes["additional_names"] = [*kept, *request.add_names]
    before = writer.site(site)
    _parsed(_current(writer, site) | changes)
    writer.set_site(site, changes)
    writer.check(site, Effort.SHORT)
    after = writer.site(site)
    return _site_result(writer, site, _difference(site, before.names, after.names, list(changes)))


def adopt_site(writer: StoreWriter, request: requests.AdoptSiteRequest, tell: Tell) -> results.SiteResult:
    site = request.site
    writer.adopt_site(site)
    message = writer.records(site)[-1].message
    writer.check(site, Effort.SHORT)
    return _site_result(writer, site, f"site {site}: {message}")


def remove_site(writer: StoreWriter, request: requests.RemoveSiteRequest, tell: Tell) -> results.RemoveResult:
    site = request.site
    _discover(writer, site)
    host = writer.site(site).host
    writer.remove_site(site)
    return results.RemoveResult(site, f"site {site} removed; its versions stay in the archive", served(writer, host))


def reloaded(writer: StoreWriter, request: requests.ReloadedRequest, tell: Tell) -> results.ReloadedResult:
    return results.ReloadedResult("every process serves with the settings of edge.yaml")


def install_result(writer: StoreWriter, result: IntakeResult) -> results.InstallResult:
    """The result of every command that installs a certificate, or tries to."""
    is_accepted = result.outcome in (Outcome.DONE, Outcome.NOTED)
    return results.InstallResult(
        result.site,
        result.outcome,
        result.reason,
        result.version,
        result.fingerprint,
        result.message,
        findings=() if is_accepted else result.findings,
        problems=result.findings if is_accepted else (),
        served=served(writer, writer.site(result.site).host),
    )


def _discover(writer: StoreWriter, site: str) -> None:
    """A folder that was created a moment ago may not have been checked yet."""
    if site not in writer.sites():
        writer.check(site, Effort.SHORT)


def _current(writer: StoreWriter, site: str) -> dict[str, Any]:
    """The contents of the site's site.yaml; for a bare site, what its first one must contain."""
    settings = writer.settings(site)
    if settings is None:
        return {"host": writer.site(site).host}
    return settings.model_dump(mode="json", exclude_defaults=True)


def _parsed(settings: Mapping[str, Any]) -> SiteSettings:
    """Settings checked as those of a site.yaml, with the same messages; keys without a value are left out.

    Raises SettingsError.
    """
    given = {key: value for key, value in settings.items() if value is not None}
    return parse_site(yaml.safe_dump(given), "site.yaml")


def _site_result(writer: StoreWriter, site: str, message: str) -> results.SiteResult:
    entry = writer.site(site)
    now_served = served(writer, entry.host)
    return results.SiteResult(site, entry.host, entry.names, entry.source, message, writer.problems(site), now_served)


def _difference(site: str, before: tuple[str, ...], after: tuple[str, ...], changed: list[str]) -> str:
    gained = [name for name in after if name not in before]
    lost = [name for name in before if name not in after]
    parts = [f"site {site} changed: {', '.join(changed)}"]
    parts += [f"new names: {listed(gained)}"] if gained else []
    parts += [f"removed names: {listed(lost)}"] if lost else []
    return "; ".join(parts)


def served(writer: StoreWriter, host: str) -> results.Served:
    selection = select(writer.snapshot(), host, is_mail=False, now=utc_now())
    certificate = selection.certificate
    return results.Served(host, certificate.site, certificate.version, certificate.fingerprint, selection.reason)
