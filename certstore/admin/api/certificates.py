"""A site's certificate: previews, uploads, rollback, orders and preflight checks, and the jobs of those two."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Path, Response
from starlette.responses import JSONResponse, StreamingResponse
from starlette.responses import Response as PlainResponse

from certstore.admin.actions import certificates, orders
from certstore.admin.actions.action import Actions, Actor
from certstore.admin.actions.certificates import PreviewFacts
from certstore.admin.api.events import event_response, follow_job
from certstore.admin.api.models import JobShape, OrderRequest, PreviewShape, ProblemDocument, Upload
from certstore.admin.api.sites import SiteKey
from certstore.admin.http.admission import ApiRoute, needs
from certstore.admin.http.identity import ActionsDep, ApiActor
from certstore.admin.http.problems import Problem, response_of
from certstore.admin.live.jobs import Job
from certstore.control.commands.results import InstallResult
from certstore.control.protocol import Fault, RequestFailed, unpack_bytes
from certstore.model.certificate.bundle import KeyPair
from certstore.model.certificate.dropped_file import DroppedFile
from certstore.model.console.authorization import Action
from certstore.model.record import Outcome
from certstore.store.writer import Preview

router = APIRouter(tags=["certificates"], route_class=ApiRoute)

JobKey = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")]
_REFUSED: dict[int | str, dict[str, Any]] = {422: {"model": ProblemDocument, "description": "The files were refused"}}


@router.post("/sites/{site}/certificate/preview", summary="Read and check files; changes nothing")
@needs(Action.CERT_PREVIEW)
def preview(actions: ActionsDep, actor: ApiActor, site: SiteKey, upload: Upload) -> PreviewShape:
    return _preview(certificates.preview(actions, actor, site, _files(upload), _password(upload)))


@router.put("/sites/{site}/certificate", summary="Install a certificate and serve it", responses=_REFUSED)
@needs(Action.CERT_INSTALL)
def install(actions: ActionsDep, actor: ApiActor, site: SiteKey, upload: Upload) -> InstallResult:
    """Idempotent: for a certificate that is already live the outcome is `noted`. Refused files change nothing."""
    files, password = _files(upload), _password(upload)
    return _taken(certificates.install_files(actions, actor, site, files, password, force=upload.force))


@router.get("/sites/{site}/certificate/chain.pem", summary="The certificate and its chain as PEM; no key")
@needs(Action.SITE_VIEW)
def chain(actions: ActionsDep, actor: ApiActor, site: SiteKey) -> PlainResponse:
    content = certificates.public_chain(actions, actor, site)
    headers = {"Content-Disposition": f'attachment; filename="{site}-chain.pem"'}
    return PlainResponse(content, media_type="application/pem-certificate-chain", headers=headers)


@router.put("/sites/{site}/versions/{version}/live", summary="Make a kept version live (rollback)", responses=_REFUSED)
@needs(Action.CERT_ACTIVATE)
def activate(
    actions: ActionsDep, actor: ApiActor, site: SiteKey, version: Annotated[int, Path(ge=1, le=1_000_000_000)]
) -> InstallResult:
    return _taken(certificates.activate(actions, actor, site, version))


@router.post("/sites/{site}/orders", status_code=202, summary="Order a certificate now")
@needs(Action.CERT_ORDER)
def order(actions: ActionsDep, actor: ApiActor, site: SiteKey, request: OrderRequest, response: Response) -> JobShape:
    """An order may take minutes: follow the job. Agreeing to the CA's terms needs the scope `admin`."""
    job = orders.start_order(actions, actor, site, force=request.force, agree_to_terms=request.agree_to_terms)
    return _accepted(job, response)


@router.post("/sites/{site}/preflights", status_code=202, summary="Check whether an order would succeed")
@needs(Action.SITE_PREFLIGHT)
def preflight(actions: ActionsDep, actor: ApiActor, site: SiteKey, response: Response) -> JobShape:
    return _accepted(orders.start_preflight(actions, actor, site), response)


@router.get("/jobs/{key}", tags=["jobs"], summary="The progress of an order or preflight check")
def show_job(actions: ActionsDep, actor: ApiActor, key: JobKey) -> JobShape:
    return JobShape.model_validate(find_job(actions, actor, key).to_json())


@router.get(
    "/jobs/{key}/events",
    tags=["jobs"],
    summary="The job's progress as server-sent events",
    response_class=StreamingResponse,
)
def follow(actions: ActionsDep, actor: ApiActor, key: JobKey) -> StreamingResponse:
    return event_response(actions, actor, follow_job(find_job(actions, actor, key), actions.news))


def find_job(actions: Actions, actor: Actor, key: str) -> Job:
    """Not found, too, if the actor may not see the job's site."""
    job = actions.jobs.get(key)
    if job is None or not actor.grant.reaches(job.site):
        raise RequestFailed(Fault.NOT_FOUND, "there is no such job", "after a restart, see the site's attempts")
    actions.check(actor, Action.SITE_VIEW, job.site)
    return job


def _accepted(job: Job, response: Response) -> JobShape:
    response.headers["Location"] = f"/api/v1/jobs/{job.key}"
    return JobShape.model_validate(job.to_json())


def _files(upload: Upload) -> list[DroppedFile]:
    return [DroppedFile(file.name, unpack_bytes(file.content)) for file in upload.files]


def _password(upload: Upload) -> bytes | None:
    return upload.password.encode() if upload.password else None


def _preview(preview: Preview) -> PreviewShape:
    facts = PreviewFacts.of(preview)
    return PreviewShape(
        accepted=not facts.is_refused,
        is_forcible=facts.is_forcible,
        certificate=_certificate(facts, facts.pair) if facts.pair is not None else None,
        covered=list(facts.covered),
        missing=list(facts.missing),
        findings=list(map(asdict, facts.findings)),
    )


def _certificate(facts: PreviewFacts, pair: KeyPair) -> dict[str, Any]:
    return {
        "dns_names": list(pair.dns_names),
        "not_before": pair.not_before.isoformat(),
        "not_after": pair.not_after.isoformat(),
        "fingerprint": pair.fingerprint,
        "issuer": pair.issuer,
        "serial": pair.serial,
        "key": f"{pair.key_kind} {pair.key_bits}" + (" + rsa" if facts.has_rsa_pair else ""),
        "chain_length": facts.chain_length,
        "is_self_signed": pair.is_self_signed,
    }


def _taken(result: InstallResult) -> InstallResult:
    if result.is_accepted:
        return JSONResponse(result.to_json())  # type: ignore[return-value]
    findings = [each.to_json() for each in result.findings]
    status, code = (503, "storage") if result.outcome is Outcome.FAILED else (422, "refused")
    problem = Problem(status, code, result.message, more={"findings": findings, "reason": result.reason})
    return response_of(problem)  # type: ignore[return-value]
