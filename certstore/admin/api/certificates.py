"""A site's certificate: previews, uploads, versions, orders and preflights, and the jobs that those two are."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Response
from starlette.responses import Response as PlainResponse
from starlette.responses import StreamingResponse

from certstore.admin.actions import certificates, orders
from certstore.admin.actions.action import Actions, Actor
from certstore.admin.api.events import event_response, follow_job
from certstore.admin.api.models import JobShape, OrderRequest, PreviewShape, ProblemDocument, Taken, Upload
from certstore.admin.api.sites import SiteKey
from certstore.admin.http.identity import ActionsDep, ApiActor
from certstore.admin.http.problems import Problem, response_of
from certstore.admin.live.jobs import Job
from certstore.control.protocol import Fault, RequestFailed, unpack_bytes
from certstore.model.certificate.dropped_file import DroppedFile
from certstore.model.console.authorization import Action

router = APIRouter(tags=["certificates"])

JobKey = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")]
_REFUSED: dict[int | str, dict[str, Any]] = {422: {"model": ProblemDocument, "description": "The files are refused"}}


@router.post("/sites/{site}/certificate/preview", summary="What is in these files; changes nothing")
def preview(actions: ActionsDep, actor: ApiActor, site: SiteKey, upload: Upload) -> PreviewShape:
    looked = certificates.preview(actions, actor, site, _files(upload), _password(upload))
    return PreviewShape.model_validate(looked.to_json())


@router.put("/sites/{site}/certificate", summary="Take a certificate in and serve it", responses=_REFUSED)
def install(actions: ActionsDep, actor: ApiActor, site: SiteKey, upload: Upload) -> Taken:
    """Idempotent: the certificate that is live already is `noted`. Refused files change nothing."""
    facts = certificates.install(actions, actor, site, _files(upload), _password(upload), force=upload.force)
    return _taken(facts)


@router.get("/sites/{site}/certificate/chain.pem", summary="Leaf and chain, PEM; no key")
def chain(actions: ActionsDep, actor: ApiActor, site: SiteKey) -> PlainResponse:
    content = certificates.public_chain(actions, actor, site)
    headers = {"Content-Disposition": f'attachment; filename="{site}-chain.pem"'}
    return PlainResponse(content, media_type="application/pem-certificate-chain", headers=headers)


@router.put(
    "/sites/{site}/versions/{version}/live", summary="Make a kept version live (a rollback)", responses=_REFUSED
)
def activate(
    actions: ActionsDep, actor: ApiActor, site: SiteKey, version: Annotated[int, Path(ge=1, le=1_000_000_000)]
) -> Taken:
    return _taken(certificates.activate(actions, actor, site, version))


@router.post("/sites/{site}/orders", status_code=202, summary="Order a certificate now")
def order(actions: ActionsDep, actor: ApiActor, site: SiteKey, request: OrderRequest, response: Response) -> JobShape:
    """Takes up to some minutes: follow the job. Agreeing to the CA's terms needs the scope `admin`."""
    job = orders.start_order(actions, actor, site, force=request.force, agree_to_terms=request.agree_to_terms)
    return _started(job, response)


@router.post("/sites/{site}/preflights", status_code=202, summary="Look for what would stand in an order's way")
def preflight(actions: ActionsDep, actor: ApiActor, site: SiteKey, response: Response) -> JobShape:
    return _started(orders.start_preflight(actions, actor, site), response)


@router.get("/jobs/{key}", tags=["jobs"], summary="How an order or a preflight goes on")
def show_job(actions: ActionsDep, actor: ApiActor, key: JobKey) -> JobShape:
    return JobShape.model_validate(find_job(actions, actor, key).to_json())


@router.get(
    "/jobs/{key}/events", tags=["jobs"], summary="The same as server-sent events", response_class=StreamingResponse
)
def follow(actions: ActionsDep, actor: ApiActor, key: JobKey) -> StreamingResponse:
    return event_response(actions, actor, follow_job(find_job(actions, actor, key), actions.news))


def find_job(actions: Actions, actor: Actor, key: str) -> Job:
    """A job of a site that the actor may not see is one that there is not."""
    job = actions.jobs.get(key)
    if job is None or not actor.grant.reaches(job.site):
        raise RequestFailed(Fault.NOT_FOUND, "there is no such job", "after a restart look at the site's attempts")
    actions.check(actor, Action.SITE_VIEW, job.site)
    return job


def _started(job: Job, response: Response) -> JobShape:
    response.headers["Location"] = f"/api/v1/jobs/{job.key}"
    return JobShape.model_validate(job.to_json())


def _files(upload: Upload) -> list[DroppedFile]:
    return [DroppedFile(file.name, unpack_bytes(file.content)) for file in upload.files]


def _password(upload: Upload) -> bytes | None:
    return upload.password.encode() if upload.password else None


def _taken(facts: dict[str, Any]) -> Taken:
    if facts["outcome"] in ("done", "noted"):
        return Taken.model_validate(facts)
    more = {"findings": facts["findings"], "reason": facts["reason"]}
    status, code = (503, "storage") if facts["outcome"] == "failed" else (422, "refused")
    return response_of(Problem(status, code, facts["message"], more=more))  # type: ignore[return-value]
