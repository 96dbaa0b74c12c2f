"""Orders of sites by a standing record, from the preflight that shows it to the certificate."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from certstore.control.commands import on_network
from certstore.control.commands.requests import OrderRequest, PreflightRequest, RegisterAccountsRequest
from certstore.control.commands.results import OrderOutcome, PreflightResult
from certstore.control.upkeep import Upkeep
from certstore.model.progress import tell_nobody
from certstore.model.settings.models import Settings, SiteSettings
from certstore.store.writer import StoreWriter
from tests.peers.bind import Bind
from tests.peers.standing_ca import StandingCa

pytestmark = pytest.mark.peer

APEX, WILDCARD = "client-a.test", "*.client-a.test"
PLACE = f"_validation-persist.{APEX}"


@dataclass
class Stage:
    upkeep: Upkeep
    bind: Bind
    ca: StandingCa

    def preflight(self) -> PreflightResult:
        return on_network.preflight(self.upkeep, PreflightRequest(APEX), tell_nobody)


@pytest.fixture(params=[["dns-persist-01"], None], ids=["asked for", "not asked for"])
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    bind = Bind({APEX: []}, server_address="10.255.255.1")
    with bind, StandingCa((bind.host, bind.port)) as ca, StoreWriter.acquire(tmp_path, main_host="edge.test") as writer:
        acme: dict[str, Any] = {"directory": ca.directory, "ca_file": str(ca.ca_file), "agree_to_terms": True}
        acme |= {"resolver": bind.address, "challenges": request.param}
        upkeep = Upkeep(writer, Settings.model_validate({"acme": acme}), tmp_path)
        writer.add_site(APEX, SiteSettings.model_validate({"host": APEX, "additional_names": [WILDCARD]}))
        writer.set_site(APEX, {"certificate": "acme"})
        try:
            on_network.register_accounts(upkeep, RegisterAccountsRequest(agree_to_terms=True), tell_nobody)
            yield Stage(upkeep, bind, ca)
        finally:
            upkeep.stop()


def test_the_record_is_shown_and_used_only_where_it_is_asked_for(stage: Stage) -> None:
    is_asked_for = stage.upkeep.maintenance.context.settings.acme.challenges is not None
    [record] = stage.preflight().standing_records
    assert record.name == PLACE
    assert record.value.endswith("; policy=wildcard"), "which covers the domain itself"
    stage.bind.add_text(APEX, PLACE, record.value)
    result = stage.preflight()
    assert {each.way for each in result.ways if each.way} == ({"dns-persist-01"} if is_asked_for else set()), (
        result.findings
    )
    ordered = on_network.order(stage.upkeep, OrderRequest(APEX), tell_nobody)
    assert (ordered.outcome is OrderOutcome.DONE) is is_asked_for, ordered.message
    assert stage.ca.refused == []
    live = stage.upkeep.writer.live_version(APEX)
    assert (set(live.dns_names) if live is not None else set()) == ({APEX, WILDCARD} if is_asked_for else set())
