"""What orders find out about this server stands as a problem and stops nothing: a refused contact, a wrong clock."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from certstore.acme import network
from certstore.acme.network import Network
from certstore.model.settings.models import Settings
from certstore.model.snapshot import MAIN
from certstore.store.writer_state import SiteProblem
from tests.certstore.renewal.scene import Scene, make_settings, scene
from tests.deadlines import wait_for

pytestmark = pytest.mark.peer

REFUSAL = {
    "type": "urn:ietf:params:acme:error:invalidContact",
    "detail": "contact email has invalid domain: Domain name contains an invalid character",
}


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Scene]:
    with scene(tmp_path) as made:
        yield made


def refuse_contacts(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[str]:
    """The CA refuses every account request that names one of the addresses; all others reach it."""
    send, refused = Network._send_request, list[str]()

    def send_or_refuse(self: Network, method: str, url: str, *args: Any, **kwargs: Any) -> requests.Response:
        response = send(self, method, url, *args, **kwargs)
        if method == "POST" and any(address in sent(kwargs) for address in addresses):
            refused.append(url)
            response.status_code, response._content = 400, json.dumps(REFUSAL).encode()
            response.headers["Content-Type"] = "application/problem+json"
        return response

    monkeypatch.setattr(Network, "_send_request", send_or_refuse)
    return refused


def sent(kwargs: dict[str, Any]) -> str:
    from josepy.b64 import b64decode

    body = json.loads(kwargs["data"]) if kwargs.get("data") else {}
    return b64decode(body.get("payload", "")).decode()


def problems(stage: Scene) -> dict[str, str]:
    return {str(each.code): each.message for each in stage.writer.problems(MAIN)}


def with_contact(stage: Scene, *contact: str) -> None:
    facts = make_settings(stage.pebble, stage.responder.port, contact=list(contact))
    stage.settings = Settings.model_validate(facts)


def test_changed_contact_that_the_ca_refuses_stops_no_order(stage: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    with stage.running():
        stage.add("a.test")
        wait_for(lambda: stage.version("a.test") == 1, "a certificate")
    refused = refuse_contacts(monkeypatch, "odd@example.org")
    with_contact(stage, "odd@example.org")
    with stage.running():
        stage.add("b.test")
        stage.add("c.test")
        wait_for(lambda: stage.version("b.test") == stage.version("c.test") == 1, "more certificates")
        text = problems(stage)[SiteProblem.CONTACT_REFUSED]
        assert "odd@example.org" in text
        assert "invalid domain" in text
        assert "keeps admin@example.org" in text
    assert len(refused) <= 2, "it is not asked again with each order"
    with_contact(stage, "good@example.org")
    with stage.running():
        wait_for(lambda: SiteProblem.CONTACT_REFUSED not in problems(stage), "the problem is solved")


def test_first_contact_that_the_ca_refuses_stops_no_order(stage: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_contacts(monkeypatch, "odd@example.org")
    with_contact(stage, "odd@example.org")
    with stage.running():
        stage.add("a.test")
        wait_for(lambda: stage.version("a.test") == 1, "a certificate")
        assert "has none" in problems(stage)[SiteProblem.CONTACT_REFUSED]


def test_certificate_that_begins_later_is_kept_and_served_then(stage: Scene) -> None:
    """Our clock is 30 minutes behind the CA's. There is one order, also over a restart."""
    stage.clock.offset = -timedelta(minutes=30)
    stage.add("a.test")
    for _ in range(2):
        with stage.running() as upkeep:
            wait_for(lambda: upkeep.maintenance.memory.state("a.test").waiting, "it waits for its time")
            state = upkeep.maintenance.memory.state("a.test")
            assert "valid from" in state.waiting
            assert state.failures == 0
            began = stage.clock()
            upkeep.maintenance.check_soon("a.test")
            wait_for(lambda: upkeep.maintenance.last_round > began, "a round")  # noqa: B023
        assert stage.version("a.test") is None
    stage.clock.forward(minutes=31)
    with stage.running():
        wait_for(lambda: stage.version("a.test") == 1, "it is served once it is valid")
    assert stage.pebble.orders() == 1
    assert list(stage.writer.layout.orders.iterdir()) == []


@pytest.mark.parametrize(
    ("behind", "words"), [(timedelta(minutes=30), "30 minutes behind"), (-timedelta(minutes=5), "5 minutes ahead of")]
)
def test_clock_that_differs_from_the_cas_is_a_problem(
    stage: Scene, monkeypatch: pytest.MonkeyPatch, behind: timedelta, words: str
) -> None:
    with monkeypatch.context() as wrong:
        wrong.setattr(network, "utc_now", lambda: datetime.now(UTC) - behind)
        with stage.running():
            stage.add("a.test")
            wait_for(lambda: stage.version("a.test") == 1, "a certificate")
            assert words in problems(stage)[SiteProblem.CLOCK_OFF]
    with stage.running():
        stage.add("b.test")
        wait_for(lambda: stage.version("b.test") == 1, "a certificate")
        assert SiteProblem.CLOCK_OFF not in problems(stage), "set right meanwhile"
