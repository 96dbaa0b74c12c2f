"""Requests generated from the API's OpenAPI document: none may cause an internal error, and every answer is of a kind
that the document names. Jobs and event streams are left out because they do not end by themselves."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from certstore.model.console.authorization import Scope
from tests.certstore.admin.console import Client, RunningConsole, running_console
from tests.certstore.stores import OTHER, SITE

EXAMPLES = 200 if os.environ.get("HYPOTHESIS_PROFILE") == "deep" else 12
LEFT_OUT = ("/api/v1/events", "/api/v1/sites/{site}/orders", "/api/v1/sites/{site}/preflights")
NEEDS_UPKEEP = ("/api/v1/service/account", "/api/v1/service/test-mail")


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningConsole]:
    with running_console(tmp_path_factory.mktemp("schema") / "store") as running:
        admin = running.api()
        for site in (SITE, OTHER):
            admin.send("PUT", f"/api/v1/sites/{site}/settings", {"host": site})
        yield running


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for path, methods in document["paths"].items():
        for method in methods:
            if path not in (*LEFT_OUT, *NEEDS_UPKEEP):
                yield method.upper(), path


def test_made_up_requests_meet_no_fault(console: RunningConsole) -> None:
    document = console.client().get("/api/v1/openapi.json").json
    schema = schemathesis.openapi.from_dict(document)
    client = console.api()
    tried = 0
    for method, path in operations(document):
        operation = schema[path][method]

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def answers_without_fault(case: Any) -> None:
            _check(case, client, document)

        answers_without_fault()
        tried += 1
    assert tried >= 20


def _check(case: Any, client: Client, document: dict[str, Any]) -> None:
    request = case.as_transport_kwargs(base_url="https://127.0.0.1")
    import requests

    prepared = requests.Request(**{key: value for key, value in request.items() if key != "cookies"}).prepare()
    body = prepared.body.encode() if isinstance(prepared.body, str) else prepared.body
    headers = {
        name: str(value)
        for name, value in prepared.headers.items()
        if name.lower() not in ("cookie", "content-length", "authorization")
    }
    assert body is None or isinstance(body, bytes)
    answer = client.request(str(prepared.method), prepared.path_url, body, headers)
    where = f"{prepared.method} {prepared.path_url}: {answer.status} {answer.body[:300]!r}"
    assert answer.status < 500, where
    named = document["paths"][case.path][case.method.lower()]["responses"]
    assert str(answer.status) in named or answer.status == 405, where
    if answer.status >= 400:
        assert answer.headers["Content-Type"] == "application/problem+json", where
        assert {"type", "title", "status", "detail"} <= set(answer.json), where


@pytest.mark.parametrize("scope", [Scope.READ, Scope.OPERATE])
def test_token_bound_to_a_site_changes_nothing_elsewhere_whatever_it_asks(
    console: RunningConsole, scope: Scope
) -> None:
    """Every operation of the document, on the other site."""
    document = console.client().get("/api/v1/openapi.json").json
    bound = console.api(scope, SITE)
    before = console.writer.site(OTHER), console.writer.records(OTHER), console.access.users.all()
    values = {"site": OTHER, "version": "1", "key": "0" * 32, "name": "anna"}
    for method, path in operations(document):
        if "{site}" not in path:
            continue
        body = {"host": OTHER, "files": [], "role": "admin", "name": "x", "scope": "admin"}
        answer = bound.send(method, path.format(**values), body if method in ("PUT", "POST") else None)
        assert answer.status in (404, 422), f"{method} {path}: {answer.status}"
    assert (console.writer.site(OTHER), console.writer.records(OTHER), console.access.users.all()) == before


@given(st.binary(max_size=200))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_as_a_body_are_answered_in_words(console: RunningConsole, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    answer = console.api().request("PUT", f"/api/v1/sites/{SITE}/certificate", body, headers)
    assert answer.status in (400, 422)
    assert answer.headers["Content-Type"] == "application/problem+json"
