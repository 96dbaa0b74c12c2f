"""One site: its page, what the listeners serve for it, its settings, rollback and removal."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form
from starlette.responses import Response

from certstore.admin.actions import certificates, orders, sites
from certstore.admin.actions.action import Conflict
from certstore.admin.http.admission import PageRoute, needs
from certstore.admin.http.problems import problem_of
from certstore.admin.pages.charts import validity_bar
from certstore.admin.pages.rendering import FormVisit, PageVisit, Visit, see_other
from certstore.admin.pages.words import key_in_words, sentence, split_list
from certstore.control.protocol import Fault, RequestFailed
from certstore.model.console.authorization import Action, Verdict, authorize
from certstore.model.names import DomainName, InvalidName, covers
from certstore.model.selection import EXPLANATIONS, select
from certstore.model.text import listed
from certstore.store.status import VersionFacts

router = APIRouter(route_class=PageRoute)

KEY_TYPES = ("ec256", "ec384", "rsa2048", "rsa3072", "rsa4096", "ec256+rsa2048")


class SettingsForm:
    """The fields of the settings form as sent. Keys of site.yaml without a field stay as they are."""

    def __init__(
        self,
        host: Annotated[str, Form(max_length=300)] = "",
        names: Annotated[str, Form(max_length=200_000)] = "",
        certificate: Annotated[str, Form(max_length=20)] = "",
        contact: Annotated[str, Form(max_length=4000)] = "",
        upstream: Annotated[str, Form(max_length=4000)] = "",
        profile: Annotated[str, Form(max_length=100)] = "",
        key_type: Annotated[str, Form(max_length=40)] = "",
        challenges: Annotated[str, Form(max_length=200)] = "",
        inspect: Annotated[bool, Form()] = False,
    ) -> None:
        self._own = {
            "certificate": certificate or None,
            "contact": split_list(contact) or None,
            "profile": profile.strip() or None,
            "key_type": key_type or None,
        }
        self._declared = {
            "host": host.strip() or None,
            "additional_names": split_list(names) or None,
            "challenges": split_list(challenges.lower()) or None,
            "inspect": inspect or None,
        }
        self._upstream = split_list(upstream)

    def wanted(self, before: Mapping[str, Any], *, may_declare: bool = True) -> dict[str, Any]:
        """The complete settings that the form asks for. Without `may_declare`, host, names and servers stay."""
        wanted = {**before, **self._own}
        if may_declare:
            wanted |= self._declared
            if self._upstream != upstream_texts(before):
                wanted["upstream"] = self._upstream or None
        return {key: value for key, value in wanted.items() if value is not None}


GivenSettings = Annotated[SettingsForm, Depends()]


@router.get("/sites/new")
@needs(Action.SITE_ADD)
def show_new(visit: PageVisit) -> Response:
    visit.actions.check(visit.actor, Action.SITE_ADD)
    return _form(visit, None, {"certificate": "acme"}, "")


@router.post("/sites/new")
@needs(Action.SITE_ADD)
def add(visit: FormVisit, given: GivenSettings) -> Response:
    visit.actions.check(visit.actor, Action.SITE_ADD)
    wanted = given.wanted({})
    site = str(wanted.get("host", "")).strip().lower().rstrip(".")
    try:
        site = DomainName.parse(site).value
        result, _ = sites.put_settings(visit.actions, visit.actor, site, wanted, must_be_new=True)
    except InvalidName as error:
        return _form(visit, None, wanted, "", f"host: {error}", 422)
    except (RequestFailed, Conflict) as error:
        return _form(visit, None, wanted, "", problem_of(error).detail, problem_of(error).status)
    return visit.done(f"/sites/{site}", sentence(result.message))


@router.get("/sites/{site}")
@needs(Action.SITE_VIEW)
def show(visit: PageVisit, site: str) -> Response:
    detail = sites.show_site(visit.actions, visit.actor, site)
    now = visit.actions.context.clock()
    live = next((each.version for each in detail.versions if each.is_live), None)
    choice = select(visit.actions.context.writer.snapshot(), detail.entry.host, is_mail=False, now=now)
    certificate = detail.facts.certificate
    names = [(name, certificate is not None and covers(certificate.dns_names, name)) for name in detail.facts.names]
    return visit.show(
        "site.html",
        site=site,
        detail=detail,
        live=live,
        names=names,
        bar=validity_bar(detail.row.not_before, detail.row.not_after, detail.row.renews_at, now),
        choice=choice,
        why=EXPLANATIONS[choice.reason],
        running=visit.actions.jobs.running(site),
        is_order_running=orders.is_order_running(visit.actions, site),
        differences=_differences(detail.versions),
        generation=visit.actions.index.view().generation,
    )


@router.get("/sites/{site}/handshakes")
@needs(Action.SITE_VERIFY)
def handshakes(visit: PageVisit, site: str) -> Response:
    """A part of the site's page that its script loads; a separate page where scripts are off."""
    message, verdicts = "", []
    try:
        verdicts = sites.verify_site(visit.actions, visit.actor, site)
    except RequestFailed as failure:
        if failure.fault is Fault.NOT_FOUND:
            raise
        message = str(failure)
    return visit.show("handshakes.html", site=site, verdicts=verdicts, message=message)


@router.get("/sites/{site}/settings")
@needs(Action.SITE_SET_SOURCE)
def show_settings(visit: PageVisit, site: str) -> Response:
    detail = sites.show_site(visit.actions, visit.actor, site)
    visit.actions.check(visit.actor, Action.SITE_SET_SOURCE, site)
    return _form(visit, site, detail.settings or {"host": detail.entry.host}, detail.etag)


@router.post("/sites/{site}/settings")
@needs(Action.SITE_SET_SOURCE)
def change_settings(visit: FormVisit, site: str, given: GivenSettings, etag: Annotated[str, Form()] = "") -> Response:
    before = sites.show_site(visit.actions, visit.actor, site)
    may_declare = authorize(visit.actor.grant, Action.SITE_CHANGE, site) is Verdict.ALLOWED
    wanted = given.wanted(before.settings or {"host": before.entry.host}, may_declare=may_declare)
    try:
        result, _ = sites.put_settings(visit.actions, visit.actor, site, wanted, if_match=etag)
    except Conflict as conflict:
        # With the current ETag: a user who has seen both versions may save.
        return _form(visit, site, wanted, before.etag, str(conflict), 412, theirs=before.settings)
    except RequestFailed as error:
        return _form(visit, site, wanted, etag, problem_of(error).detail, problem_of(error).status)
    return visit.done(f"/sites/{site}", sentence(result.message))


@router.get("/sites/{site}/remove")
@needs(Action.SITE_REMOVE)
def show_remove(visit: PageVisit, site: str) -> Response:
    visit.actions.entry(visit.actor, Action.SITE_REMOVE, site)
    return visit.show("remove.html", site=site, detail=sites.show_site(visit.actions, visit.actor, site), message="")


@router.post("/sites/{site}/remove")
@needs(Action.SITE_REMOVE)
def remove(visit: FormVisit, site: str, typed: Annotated[str, Form()] = "") -> Response:
    detail = sites.show_site(visit.actions, visit.actor, site)
    visit.actions.check(visit.actor, Action.SITE_REMOVE, site)
    message = f"type {site} to confirm" if typed.strip().lower() != site else ""
    if not message:
        try:
            result = sites.remove_site(visit.actions, visit.actor, site)
            return visit.done("/", sentence(result.message))
        except RequestFailed as error:
            message = str(error)
    return visit.show("remove.html", 422, site=site, detail=detail, message=message)


@router.post("/sites/{site}/rollback")
@needs(Action.CERT_ACTIVATE)
def rollback(visit: FormVisit, site: str, version: Annotated[int, Form(ge=1, le=10**9)]) -> Response:
    result = certificates.activate(visit.actions, visit.actor, site, version)
    visit.flash("ok" if result.is_accepted else "failing", sentence(result.message))
    return see_other(f"/sites/{site}")


def upstream_texts(settings: Mapping[str, Any]) -> list[str]:
    """The URLs. Other keys of the long form are kept as long as the URLs stay the same."""
    value = settings.get("upstream")
    items = value if isinstance(value, list) else [value] if value else []
    return [str(item["url"]) if isinstance(item, dict) else str(item) for item in items]


def _form(
    visit: Visit,
    site: str | None,
    settings: Mapping[str, Any],
    etag: str,
    message: str = "",
    status: int = 200,
    theirs: Mapping[str, Any] | None = None,
) -> Response:
    return visit.show(
        "settings_form.html",
        status,
        site=site,
        settings={**sites.SETTING_DEFAULTS, **settings},
        upstream=upstream_texts(settings),
        etag=etag,
        message=message,
        theirs=theirs,
        key_types=KEY_TYPES,
    )


def _differences(versions: Sequence[VersionFacts]) -> dict[int, list[str]]:
    """What changed with each version, in words."""
    found: dict[int, list[str]] = {}
    for newer, older in itertools.pairwise(each.version for each in versions):
        words = []
        if gained := sorted(set(newer.dns_names) - set(older.dns_names)):
            words.append(f"new names: {listed(gained)}")
        if lost := sorted(set(older.dns_names) - set(newer.dns_names)):
            words.append(f"removed names: {listed(lost)}")
        if newer.issuer != older.issuer:
            words.append(f"new issuer: {newer.issuer}")
        if (newer.key_kind, newer.key_bits) != (older.key_kind, older.key_bits):
            words.append(f"new key type: {key_in_words(newer.key_kind, newer.key_bits)}")
        if newer.fingerprint == older.fingerprint:
            words.append("same certificate, new chain or key file")
        found[newer.number] = words or ["same names, issuer and key type; new validity"]
    return found
