"""dns-01 at a real Pebble, with records at a real BIND."""

import base64
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from certstore.acme.challenge_kind import ChallengeKinds, ProbeContext
from certstore.acme.dns01 import TYPE, dns01, record_name, record_value
from certstore.acme.issue import Issuer
from certstore.acme.network import OrderFailed
from certstore.acme.order_context import Interrupted, OrderContext
from certstore.model.certificate.x509_facts import read_pem
from certstore.model.layout import Layout
from certstore.model.renewal.failure import Cause
from certstore.model.renewal.preflight_facts import Severity
from certstore.model.settings.models import AcmeSettings
from certstore.net.lanes import Budget
from tests.certstore.acme.dns.zone_scene import ZoneScene, program, rfc2136
from tests.certstore.acme.workshop import AGREED, Responder, Workshop
from tests.peers.bind import Bind
from tests.peers.pebble import Pebble

pytestmark = pytest.mark.peer

APEX, WILDCARD = "client-a.test", "*.client-a.test"
PLACE = "_acme-challenge.client-a.test"


@pytest.fixture(scope="module")
def bind() -> Iterator[Bind]:
    delegated = ["_acme-challenge CNAME client-b.acme.test."]
    circle = ["_acme-challenge CNAME a", "a CNAME b", "b CNAME _acme-challenge"]
    zones = {APEX: [], "client-b.test": delegated, "acme.test": [], "circle.test": circle, "closed.test": []}
    with Bind(zones, read_only=["closed.test"]) as running:
        yield running


@pytest.fixture(scope="module")
def pebble(bind: Bind) -> Iterator[Pebble]:
    """Nothing answers at port 80 of any name."""
    with Pebble(1, dns_server=bind.address) as running:
        yield running


class Shop(Workshop):
    """Orders by dns-01 alone."""

    scene: ZoneScene
    at_each_line: Callable[[str], None] = staticmethod(lambda line: None)

    def tell(self, line: str) -> None:
        self.told.append(line)
        self.at_each_line(line)

    @contextmanager
    def by_dns(self, *names: str) -> Iterator[Issuer]:
        kinds = ChallengeKinds(self.scene.kind)
        stop, ways = self.scene.stopping.wait, dict.fromkeys(names, (TYPE,))
        context = OrderContext(
            self.journal, kinds, stop, self.tell, note_failed=lambda name, way: self.failed.append(name), ways=ways
        )
        with self.issuer(context=context, settings=AGREED) as issuer:
            yield issuer

    def order(self, *names: str) -> set[str]:
        """The names of the certificate."""
        with self.by_dns(*names) as issuer:
            files = issuer.issue(self.request(*names))
        return set(read_pem(files[1].content)[0].dns_names)


def shop(folder: Path, bind: Bind, pebble: Pebble, settings: dict[str, Any] | None = None) -> Shop:
    scene = ZoneScene(folder, bind, settings or rfc2136(bind))
    made = Shop(scene.layout, cast(Responder, None), pebble)
    made.scene = scene
    return made


def test_a_wildcard_and_its_apex_share_the_place_of_their_records(tmp_path: Path, bind: Bind, pebble: Pebble) -> None:
    bind.add_text(APEX, PLACE, "somebody else's")
    ordering = shop(tmp_path, bind, pebble)
    assert ordering.order(APEX, WILDCARD) == {APEX, WILDCARD}
    assert bind.texts(PLACE) == {"somebody else's"}, "ours are gone, and only ours"
    assert ordering.scene.journal.leftovers(needed=()) == []
    assert f"{WILDCARD}: the CA has validated it by dns-01" in ordering.told


def test_a_cname_leads_to_a_zone_of_ones_own(tmp_path: Path, bind: Bind, pebble: Pebble) -> None:
    way = rfc2136(bind)
    ordering = shop(tmp_path, bind, pebble, {"zones": {"acme.test": way}})
    assert ordering.order("client-b.test") == {"client-b.test"}
    assert any(
        "client-b.acme.test: adding a TXT record by acme.dns.zones.acme.test.rfc2136" in each for each in ordering.told
    )
    assert bind.texts("client-b.acme.test") == set()


def test_a_cname_into_a_zone_that_the_settings_do_not_name_is_not_followed(
    tmp_path: Path, bind: Bind, pebble: Pebble
) -> None:
    """Its author may not be the administrator."""
    ordering = shop(tmp_path, bind, pebble)
    with pytest.raises(OrderFailed) as failed:
        ordering.order("client-b.test")
    assert failed.value.failure.cause is Cause.SETTINGS
    assert "is a CNAME to client-b.acme.test in the zone acme.test, which" in failed.value.failure.detail
    assert bind.texts("client-b.acme.test") == set()


def test_what_fails_for_one_name_is_not_said_of_another(tmp_path: Path, bind: Bind, pebble: Pebble) -> None:
    ordering = shop(tmp_path, bind, pebble)
    with pytest.raises(OrderFailed) as failed:
        ordering.order(APEX, "closed.test", "circle.test")
    assert sorted(failed.value.failure.names) == ["circle.test", "closed.test"]
    assert "refuses the update: the key may not change this name" in failed.value.failure.detail
    assert bind.texts(PLACE) <= {"somebody else's"}
    assert ordering.failed == [], "the CA has not looked"


def test_a_circle_of_cnames_is_found_out(tmp_path: Path, bind: Bind, pebble: Pebble) -> None:
    with pytest.raises(OrderFailed, match="lead in a circle"):
        shop(tmp_path, bind, pebble).order("circle.test")


def test_a_hook_that_lies_is_found_out_before_the_ca_is_asked(tmp_path: Path, bind: Bind, pebble: Pebble) -> None:
    hook = program(tmp_path, "print('done')")
    ordering = shop(tmp_path, bind, pebble, {"exec": [str(hook)], "propagation_seconds": 4})
    with pytest.raises(OrderFailed) as failed:
        ordering.order(APEX)
    assert failed.value.failure.cause is Cause.DNS_PROVIDER
    assert f"the TXT record at {PLACE} did not appear at the zone's own servers in time" in failed.value.failure.detail
    assert ordering.failed == [], "the CA has not looked"


def test_a_stop_during_the_wait_leaves_the_record_to_the_next_start(tmp_path: Path, bind: Bind, pebble: Pebble) -> None:
    hook = program(tmp_path, "open(os.path.dirname(__file__) + '/ran', 'a').write(env['ACTION'] + '\\n')")
    ordering = shop(tmp_path, bind, pebble, {"exec": [str(hook)], "propagation_seconds": 600})

    def stop_while_waiting(line: str) -> None:
        if "waiting until the servers" in line:
            ordering.scene.stopping.set()

    ordering.at_each_line = stop_while_waiting
    with pytest.raises(Interrupted):
        ordering.order(APEX)
    assert (tmp_path / "ran").read_text() == "add\n"
    kept = ordering.journal.published()
    assert {each.name for each in kept} == {APEX}
    ordering.scene.stopping.clear()
    assert ordering.scene.kind.remove_stale((), kept) == 0
    ordering.scene.kind.tidy()
    assert (tmp_path / "ran").read_text() == "add\n", "the order will be resumed with it"
    assert ordering.scene.kind.remove_stale((), ()) == 1
    ordering.scene.kind.tidy()
    assert (tmp_path / "ran").read_text() == "add\nremove\n"


def probe(scene: ZoneScene, name: str) -> list[tuple[str, Severity]]:
    context = ProbeContext(scene.zones.resolver)
    with scene.kind.probing(context) as asked:
        facts = asked(name, (), Budget(20))
    return [(each.message, each.severity) for each in facts.findings]


def test_a_preflight_writes_and_removes_a_harmless_record(tmp_path: Path, bind: Bind) -> None:
    scene = ZoneScene(tmp_path, bind, rfc2136(bind))
    before = bind.log.count("adding an RR")
    assert probe(scene, WILDCARD) == []
    assert bind.log.count("adding an RR") == before + 1
    assert not any(each.startswith("certedge") for each in bind.texts(PLACE))
    assert scene.journal.leftovers(needed=()) == []


def test_a_check_right_before_an_order_writes_nothing(tmp_path: Path, bind: Bind) -> None:
    hook = program(tmp_path, "open(os.path.dirname(__file__) + '/ran', 'w')")
    scene = ZoneScene(tmp_path, bind, {"zones": {APEX: {"exec": [str(hook)]}}})
    with scene.kind.probing(ProbeContext(scene.zones.resolver, may_write=False)) as asked:
        assert asked(WILDCARD, (), Budget(20)).findings == ()
        [finding] = asked("closed.test", (), Budget(20)).findings
    assert "acme.dns has no way to write into the zone closed.test" in finding.message
    assert not (tmp_path / "ran").exists()


def test_a_preflight_shows_credentials_that_do_not_work(tmp_path: Path, bind: Bind) -> None:
    key = tmp_path / "tsig.key"
    key.write_text("c2VjcmV0IG9mIGFub3RoZXIga2V5")
    way = {"server": bind.address, "tsig_name": "certedge-key", "tsig_secret_file": str(key)}
    [(message, severity)] = probe(ZoneScene(tmp_path, bind, {"rfc2136": way}), APEX)
    assert severity is Severity.FATAL
    assert "refuses the signature: its key has another secret (certedge-key)" in message


def test_a_preflight_doubts_a_record_that_does_not_appear(
    tmp_path: Path, bind: Bind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("certstore.acme.dns.records._TRIAL_SECONDS", 4)
    scene = ZoneScene(tmp_path, bind, {"exec": [str(program(tmp_path, ""))]})
    [(message, severity)] = probe(scene, APEX)
    assert severity is Severity.DOUBTFUL
    assert "did not appear" in message


def test_without_settings_it_says_what_is_missing(tmp_path: Path) -> None:
    kind = dns01(Layout(tmp_path), AcmeSettings(), tmp_path)
    missing = kind.cannot_prove(WILDCARD)
    assert missing is not None
    assert missing.is_missing
    assert missing.reason == f"{WILDCARD} is a wildcard, which only dns-01 can prove, and dns-01 is not set up"


def test_names_and_values_are_those_of_rfc_8555() -> None:
    assert record_name(WILDCARD) == record_name(APEX) == PLACE
    digest = hashlib.sha256(b"token.thumbprint").digest()
    assert base64.urlsafe_b64decode(record_value("token.thumbprint") + "=") == digest


def test_a_check_without_time_left_is_not_whole_and_forbids_nothing(tmp_path: Path, bind: Bind) -> None:
    hook = program(tmp_path, "time.sleep(600)")
    scene = ZoneScene(tmp_path, bind, {"exec": {"command": [str(hook)], "seconds": 1}})
    with scene.kind.probing(ProbeContext(scene.zones.resolver)) as asked:
        facts = asked(APEX, (), Budget(0.5))
    assert (facts.is_whole, facts.findings) == (False, ())
