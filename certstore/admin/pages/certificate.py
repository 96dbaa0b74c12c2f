"""A new certificate for a site: previewed and installed from files, ordered, or the main one; and the pages of jobs."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, UploadFile
from starlette.responses import Response

from certstore.admin.actions import certificates, orders, sites
from certstore.admin.actions.action import Conflict
from certstore.admin.http.admission import PageRoute, needs
from certstore.admin.http.problems import problem_of
from certstore.admin.pages.charts import validity_bar
from certstore.admin.pages.rendering import FormVisit, PageVisit, Visit, see_other
from certstore.admin.pages.site import KEY_TYPES, GivenSettings
from certstore.admin.pages.words import sentence
from certstore.control.protocol import Fault, RequestFailed
from certstore.model.certificate.dropped_file import DroppedFile
from certstore.model.certificate.pem import FILE_LIMIT
from certstore.model.console.authorization import Action
from certstore.model.renewal.ca import configured_cas
from certstore.model.settings.models import Source

router = APIRouter(prefix="/sites/{site}", route_class=PageRoute)


@router.get("/certificate")
@needs(Action.CERT_PREVIEW)
def show(visit: PageVisit, site: str) -> Response:
    visit.actions.check(visit.actor, Action.CERT_PREVIEW, site)
    return _choices(visit, site)


@router.post("/certificate/files")
@needs(Action.CERT_PREVIEW)
def preview_files(
    visit: FormVisit, site: str, files: list[UploadFile], password: Annotated[str, Form(max_length=1000)] = ""
) -> Response:
    """Show what the files hold; the next step installs it."""
    dropped = tuple(
        DroppedFile(file.filename or "file", file.file.read(FILE_LIMIT + 1)) for file in files if file.filename
    )
    secret = password.encode() or None
    if not dropped:
        return _choices(visit, site, "Choose at least one file.", 422)
    try:
        read = certificates.preview(visit.actions, visit.actor, site, dropped, secret)
    except RequestFailed as failure:
        if failure.fault is Fault.NOT_FOUND:
            raise
        return _choices(visit, site, str(failure), problem_of(failure).status)
    preview, now = certificates.PreviewFacts.of(read), visit.actions.context.clock()
    pair = preview.pair
    return visit.show(
        "preview.html",
        422 if preview.is_refused else 200,
        site=site,
        detail=sites.show_site(visit.actions, visit.actor, site),
        preview=preview,
        key=visit.actions.uploads.keep(visit.actor.name, read) if pair is not None else "",
        file_names=[file.name for file in dropped],
        bar=validity_bar(pair.not_before, pair.not_after, None, now) if pair is not None else None,
    )


@router.get("/chain.pem")
@needs(Action.SITE_VIEW)
def chain(visit: PageVisit, site: str) -> Response:
    """The certificate and its chain; no key."""
    content = certificates.public_chain(visit.actions, visit.actor, site)
    headers = {"Content-Disposition": f'attachment; filename="{site}-chain.pem"'}
    return Response(content, 200, headers, "application/pem-certificate-chain")


@router.post("/certificate/take")
@needs(Action.CERT_INSTALL)
def install(
    visit: FormVisit, site: str, key: Annotated[str, Form()] = "", force: Annotated[bool, Form()] = False
) -> Response:
    visit.actions.check(visit.actor, Action.CERT_INSTALL, site)
    read = visit.actions.uploads.take(key, visit.actor.name, site)
    if read is None:
        message = "The uploaded files are no longer available: they are kept for 15 minutes. Choose them again."
        return _choices(visit, site, message, 410)
    result = certificates.install(visit.actions, visit.actor, read, force=force)
    if not result.is_accepted:
        return _choices(visit, site, result.message, 422)
    visit.flash("ok", sentence(result.message))
    for problem in result.problems:
        visit.flash("warning", sentence(problem.message))
    return see_other(f"/sites/{site}")


@router.post("/certificate/main")
@needs(Action.SITE_SET_SOURCE)
def use_main(visit: FormVisit, site: str) -> Response:
    settings = sites.show_site(visit.actions, visit.actor, site)
    wanted = (settings.settings or {"host": settings.entry.host}) | {"certificate": Source.MAIN.value}
    result, _ = sites.put_settings(visit.actions, visit.actor, site, wanted)
    return visit.done(f"/sites/{site}", sentence(result.message))


@router.post("/certificate/order")
@needs(Action.CERT_ORDER)
def order(
    visit: FormVisit,
    site: str,
    given: GivenSettings,
    agree: Annotated[bool, Form()] = False,
    force: Annotated[bool, Form()] = False,
) -> Response:
    """Order the certificate now, and from now on."""
    visit.actions.check(visit.actor, Action.CERT_ORDER, site)
    detail = sites.show_site(visit.actions, visit.actor, site)
    wanted = given.wanted(detail.settings or {"host": detail.entry.host}, may_declare=False)
    try:
        sites.put_settings(visit.actions, visit.actor, site, wanted | {"certificate": Source.ACME.value})
        job = orders.start_order(visit.actions, visit.actor, site, force=force, agree_to_terms=agree)
    except (RequestFailed, Conflict) as error:
        return _choices(visit, site, problem_of(error).detail, problem_of(error).status)
    return see_other(f"/sites/{site}/jobs/{job.key}")


@router.post("/renew")
@needs(Action.CERT_ORDER)
def renew(visit: FormVisit, site: str, force: Annotated[bool, Form()] = False) -> Response:
    job = orders.start_order(visit.actions, visit.actor, site, force=force)
    return see_other(f"/sites/{site}/jobs/{job.key}")


@router.post("/preflight")
@needs(Action.SITE_PREFLIGHT)
def preflight(visit: FormVisit, site: str) -> Response:
    job = orders.start_preflight(visit.actions, visit.actor, site)
    return see_other(f"/sites/{site}/jobs/{job.key}")


@router.get("/jobs/{key}")
@needs(Action.SITE_VIEW)
def show_job(visit: PageVisit, site: str, key: str) -> Response:
    detail = sites.show_site(visit.actions, visit.actor, site)
    job = visit.actions.jobs.get(key)
    if job is None or job.site != site:
        visit.flash(
            "warning",
            "The steps of this order or check are no longer available: the service has restarted since. An interrupted "
            "order continues by itself; its outcome is listed below, under “Recent attempts”.",
        )
        return see_other(f"/sites/{site}")
    return visit.show("job.html", site=site, job=job, detail=detail)


def _choices(visit: Visit, site: str, message: str = "", status: int = 200) -> Response:
    detail = sites.show_site(visit.actions, visit.actor, site)
    acme = visit.actions.context.settings.acme
    upkeep = visit.actions.context.upkeep()
    cas = configured_cas(acme)
    has_account = upkeep is not None and upkeep.maintenance.context.accounts.load(cas[0]) is not None
    return visit.show(
        "certificate.html",
        status,
        site=site,
        detail=detail,
        message=message,
        ca=cas[0],
        acme=acme,
        needs_terms=not (acme.agree_to_terms or has_account),
        can_order=upkeep is not None,
        key_types=KEY_TYPES,
        wildcards=[name for name in detail.facts.names if name.startswith("*.")] if acme.dns is None else [],
    )
