"""Turns a template and facts into a response. Everything that a template prints is escaped, without exception.

Adds what every page needs: the user, the CSRF token of their session, and the messages of their last action.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Depends, Form, Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import HTMLResponse, RedirectResponse

from certstore.admin.actions.action import Actions, Actor
from certstore.admin.actions.cluster import belongs_to_one
from certstore.admin.http.identity import actions_of, check_csrf, check_origin, find_actor
from certstore.admin.http.problems import NotSignedIn
from certstore.admin.pages import words
from certstore.model.certificate.pem import FILE_LIMIT
from certstore.model.console.authorization import Action, Verdict, authorize
from certstore.model.console.standing import LABELS, SiteStatus
from certstore.model.settings.models import Source

_HERE = Path(__file__).parent.parent
STATIC = _HERE / "static"
_SESSIONS_REMEMBERED = 1000


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_quoted,
    )
    environment.filters |= {
        "day": words.day,
        "minute": words.minute,
        "grouped": words.grouped,
        "came_from": words.came_from,
        "setting": words.setting_in_words,
        "sentence": words.sentence,
        "breakable": breakable,
    }
    environment.globals |= {
        "from_now": words.from_now,
        "key_in_words": words.key_in_words,
        "sources": words.SOURCES,
        "doings": words.DOINGS,
        "audited": words.AUDITED,
        "audit_outcomes": words.AUDIT_OUTCOMES,
        "outcomes": words.OUTCOMES,
        "labels": LABELS,
        "Standing": SiteStatus,
        "Source": Source,
        "Action": Action,
        "file_limit": FILE_LIMIT,
        "stamp": _stamp(),
    }
    return environment


def _quoted(value: object) -> object:
    """Nothing that strangers name turns a line around or hides in it. Lines of settings stay lines."""
    if not isinstance(value, str) or isinstance(value, Markup) or value.isprintable():
        return value
    return "".join(each if each.isprintable() or each in "\n\t" else "\ufffd" for each in value)


def _stamp() -> str:
    """Changes with the static files, so that no browser mixes old and new ones."""
    whole = hashlib.sha256()
    for path in sorted(STATIC.iterdir()):
        whole.update(path.read_bytes())
    return whole.hexdigest()[:12]


def breakable(name: str) -> Markup:
    """A host name that a narrow page breaks only after dots."""
    return Markup(".<wbr>").join(name.split("."))


class Flashes:
    """Messages of an action, for the next page of the same session. In memory: losing one does no harm."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, list[tuple[str, str]]] = OrderedDict()

    def add(self, actor: Actor, kind: str, text: str) -> None:
        if actor.session is None:
            return
        with self._lock:
            self._kept.setdefault(actor.session.digest, []).append((kind, text))
            while len(self._kept) > _SESSIONS_REMEMBERED:
                self._kept.popitem(last=False)

    def take(self, actor: Actor | None) -> list[tuple[str, str]]:
        if actor is None or actor.session is None:
            return []
        with self._lock:
            return self._kept.pop(actor.session.digest, [])


def flashes_of(request: Request) -> Flashes:
    flashes: Flashes = request.app.state.flashes
    return flashes


def render(request: Request, actor: Actor | None, template: str, status: int = 200, **facts: Any) -> HTMLResponse:
    actions = actions_of(request)

    def may(action: Action, site: str | None = None) -> bool:
        return actor is not None and authorize(actor.grant, action, site) is Verdict.ALLOWED

    text = (
        _environment()
        .get_template(template)
        .render(
            actor=actor,
            may=may,
            csrf=actor.session.csrf_token if actor is not None and actor.session is not None else "",
            flashes=[] if "x-part" in request.headers else flashes_of(request).take(actor),
            now=actions.context.clock(),
            path=request.url.path,
            has_cluster=belongs_to_one(actions),
            **facts,
        )
    )
    return HTMLResponse(text, status)


def see_other(path: str, **query: str) -> RedirectResponse:
    """Redirect after an action to the page that shows its outcome, so that reloading repeats nothing."""
    return RedirectResponse(f"{path}?{urlencode(query)}" if query else path, 303)


@dataclass(frozen=True, slots=True)
class Visit:
    """A request of a signed-in user, and how to answer it."""

    request: Request
    actions: Actions
    actor: Actor

    def show(self, template: str, status: int = 200, **facts: Any) -> HTMLResponse:
        return render(self.request, self.actor, template, status, **facts)

    def flash(self, kind: str, text: str) -> None:
        flashes_of(self.request).add(self.actor, kind, text)

    def done(self, path: str, text: str) -> RedirectResponse:
        """The answer to a form whose action succeeded."""
        self.flash("ok", text)
        return see_other(path)


def page_visit(request: Request) -> Visit:
    """Raises NotSignedIn. Pages need a session; tokens are for the API."""
    actor = find_actor(request)
    if actor is None or actor.session is None:
        raise NotSignedIn
    return Visit(request, actions_of(request), actor)


def form_visit(request: Request, csrf: Annotated[str, Form()] = "") -> Visit:
    """For a form that changes something. Raises NotSignedIn, CsrfRefused."""
    visit = page_visit(request)
    check_origin(request)
    assert visit.actor.session is not None, "page_visit ensures it"  # noqa: S101
    check_csrf(visit.actor.session, csrf)
    return visit


PageVisit = Annotated[Visit, Depends(page_visit)]
FormVisit = Annotated[Visit, Depends(form_visit)]
