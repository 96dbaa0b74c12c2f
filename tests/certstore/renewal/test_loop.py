"""The maintenance loop on a real store against a real Pebble."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from certstore.acme.order_context import Interrupted
from certstore.acme.renewal_info import RenewalInfoAnswer
from certstore.control.commands.requests import OrderRequest, RegisterAccountsRequest
from certstore.control.commands.table import perform
from certstore.model.record import Outcome
from certstore.model.renewal.ca import Ca
from certstore.model.renewal.failure import Cause
from certstore.model.renewal.state import RenewalState
from certstore.model.settings.models import Settings
from certstore.renewal.attempt_lanes import CHECKS_AT_ONCE
from certstore.renewal.loop import STALLED_AFTER
from certstore.renewal.renewal_windows import AriClient
from certstore.store.journal import JournalReader
from tests.certificates import CertificateAuthority
from tests.certstore.renewal.scene import Scene, make_settings, scene
from tests.deadlines import wait_for
from tests.peers.renewal_windows import RenewalWindows

pytestmark = pytest.mark.peer


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Scene]:
    with scene(tmp_path) as made:
        yield made
        assert made.tokens() == []


def drop(stage: Scene, site: str, *names: str) -> None:
    """Import a file certificate."""
    from certstore.model.certificate.dropped_file import DroppedFile

    issued = CertificateAuthority().issue(*names)
    stage.writer.install_files(site, [DroppedFile("all.pem", issued.combined_pem)], source="upload")


def test_site_that_says_acme_is_ordered_within_seconds(stage: Scene) -> None:
    with stage.running():
        stage.add("a.test", "b.a.test")
        wait_for(lambda: stage.version("a.test") == 1, "a certificate", seconds=60)
        live = stage.writer.live_version("a.test")
    assert live is not None
    assert set(live.dns_names) == {"a.test", "b.a.test"}
    assert live.source.startswith("acme:")
    (record,) = stage.attempts("a.test")
    assert (record.doing, record.outcome) == ("order", Outcome.DONE)
    assert list(stage.writer.layout.orders.iterdir()) == []


class Turn:
    """A duty that the test gives and takes."""

    def __init__(self) -> None:
        self.is_ours = False

    def is_mine(self) -> bool:
        return self.is_ours

    def is_mine_to_warn(self) -> bool:
        return self.is_ours


def test_while_another_node_has_the_duty_nothing_is_ordered_and_what_waited_is_then(stage: Scene) -> None:
    stage.duty = turn = Turn()
    with stage.running() as upkeep:
        stage.add("a.test")
        began = upkeep.maintenance.last_round
        wait_for(lambda: upkeep.maintenance.last_round > began + timedelta(seconds=2), "rounds go by")
        assert stage.attempts("a.test") == []
        assert not upkeep.maintenance.is_stalled(stage.clock())
        turn.is_ours = True
        wait_for(lambda: stage.version("a.test") == 1, "a certificate", seconds=60)
        turn.is_ours = False
        stage.add("b.test")
        began = upkeep.maintenance.last_round
        wait_for(lambda: upkeep.maintenance.last_round > began + timedelta(seconds=2), "rounds go by")
        assert stage.attempts("b.test") == []
        assert perform(upkeep, OrderRequest("b.test")).version == 1  # a person asks
    assert stage.pebble.orders() == 2


def test_window_that_can_not_be_asked_for_is_not_asked_for_without_end(
    stage: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def stumble(self: AriClient, ca: Ca, certificate: str) -> RenewalInfoAnswer:
        asked.append(certificate)
        raise RecursionError

    monkeypatch.setattr(AriClient, "ask", stumble)
    with stage.running() as upkeep:
        stage.add("a.test")
        wait_for(lambda: asked, "the first question", seconds=60)
        began = stage.clock()
        wait_for(lambda: upkeep.maintenance.last_round > began + timedelta(seconds=2), "more rounds")
    assert len(asked) == 1


def test_switching_a_site_from_file_to_acme_orders_and_a_file_site_is_left_alone(stage: Scene) -> None:
    stage.add("file.test", certificate="file")
    stage.add("switched.test", certificate="file")
    for site in ("file.test", "switched.test"):
        drop(stage, site, site)
    with stage.running() as upkeep:
        wait_for(lambda: upkeep.maintenance.last_round > stage.clock() - timedelta(seconds=1), "a round")
        stage.writer.set_site("switched.test", {"certificate": "acme"})
        wait_for(lambda: stage.version("switched.test") == 2, "an order", seconds=60)
    assert stage.version("file.test") == 1
    assert stage.pebble.orders() == 1


def test_restart_loses_no_schedule_and_orders_nothing_twice(stage: Scene) -> None:
    stage.add("a.test")
    with stage.running():
        wait_for(lambda: stage.version("a.test") == 1, "a certificate", seconds=60)
    for _ in range(2):
        with stage.running() as upkeep:
            began = stage.clock()
            wait_for(lambda: upkeep.maintenance.last_round > began, "a round")  # noqa: B023  waited for here
    assert stage.pebble.orders() == 1
    assert stage.version("a.test") == 1


def test_renewal_comes_when_its_time_has_come(stage: Scene) -> None:
    stage.add("a.test")
    with stage.running() as upkeep:
        wait_for(lambda: stage.version("a.test") == 1, "a certificate", seconds=60)
        live = stage.writer.live_version("a.test")
        assert live is not None
        # Pebble's certificates live for five years.
        stage.clock.offset = (live.not_after - live.not_before) * 0.75
        upkeep.maintenance.check_soon("a.test")
        wait_for(lambda: stage.version("a.test") == 2, "a renewal", seconds=60)
    assert [record.doing for record in stage.attempts("a.test")] == ["order", "renew"]


def test_an_order_that_has_just_ended_is_not_placed_again(stage: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The round has read the journal before the certificate was in it, and decides after the attempt has ended."""
    maintenance = stage.upkeep().maintenance
    stage.add("a.test")
    maintenance.round()
    monkeypatch.setattr(JournalReader, "poll", lambda reader: None)
    wait_for(lambda: stage.attempts("a.test") and not maintenance.is_ordering("a.test"), "a certificate", seconds=60)
    maintenance.check_soon("a.test")
    maintenance.round()
    is_ordering = maintenance.is_ordering("a.test")
    maintenance.stop()
    assert not is_ordering
    assert stage.pebble.orders() == 1


def test_failure_is_on_record_with_cause_and_next_attempt_and_heals(stage: Scene) -> None:
    stage.responder.unhelpful = {"a.test"}
    with stage.running() as upkeep:
        stage.add("a.test")
        wait_for(lambda: stage.attempts("a.test"), "a failed attempt", seconds=60)
        record = stage.attempts("a.test")[0]
        assert (record.outcome, record.reason) == (Outcome.FAILED, Cause.OWN_LISTENER.value)
        assert record.next_attempt is not None
        state = upkeep.maintenance.memory.state("a.test")
        assert (state.failures, state.next_attempt) == (1, record.next_attempt)
        stage.responder.unhelpful.clear()
        stage.clock.forward(minutes=2)
        upkeep.maintenance.check_soon("a.test")
        wait_for(lambda: stage.version("a.test") == 1, "a certificate", seconds=60)
        wait_for(
            lambda: (
                upkeep.maintenance.memory.state("a.test") == RenewalState()
                or upkeep.maintenance.memory.state("a.test").failures == 0
            ),
            "the failure is forgotten",
        )


def test_validations_that_fail_half_of_the_time_cost_a_minute_each(stage: Scene) -> None:
    """For each name's first token, the self-check (the first request) gets an answer and the CA does not."""
    first_tokens: dict[str, str] = {}
    checked: set[str] = set()

    def is_moody(host: str, token: str) -> bool:
        if first_tokens.setdefault(host, token) != token:
            return False
        was_checked = host in checked
        checked.add(host)
        return was_checked

    stage.responder.is_moody = is_moody
    sites = [stage.add(f"s{number}.test") for number in range(6)]
    with stage.running() as upkeep:
        memory = upkeep.maintenance.memory
        wait_for(lambda: all(stage.attempts(site) for site in sites), "every first order fails", seconds=60)
        assert {stage.attempts(site)[0].reason for site in sites} <= {"wrong_answer", "connection"}
        with memory.ledger(upkeep.maintenance.context.cas[0]) as ledger:
            assert {len(ledger.events(f"failed:{site}")) for site in sites} == {1}
        stage.clock.forward(minutes=2)
        for site in sites:
            upkeep.maintenance.check_soon(site)
        wait_for(lambda: all(stage.version(site) == 1 for site in sites), "every second order succeeds", seconds=60)


def test_failing_state_survives_a_restart(stage: Scene) -> None:
    stage.responder.unhelpful = {"a.test"}
    stage.add("a.test")
    with stage.running():
        wait_for(lambda: stage.attempts("a.test"), "a failed attempt", seconds=60)
    with stage.running() as upkeep:
        state = upkeep.maintenance.memory.state("a.test")
        assert state.failures == 1
        assert state.failure is not None
        assert state.failure.cause is Cause.OWN_LISTENER
        began = stage.clock()
        wait_for(lambda: upkeep.maintenance.last_round > began, "a round")
    assert len(stage.attempts("a.test")) == 1, "the wait continues"


def test_name_that_does_not_exist_is_left_out_of_a_first_certificate(stage: Scene) -> None:
    stage.pebble.dns.set_servfail("broken.a.test")
    with stage.running() as upkeep:
        stage.add("a.test", "broken.a.test")
        wait_for(lambda: stage.version("a.test") == 1, "a certificate without it", seconds=60)
        live = stage.writer.live_version("a.test")
        assert live is not None
        assert live.dns_names == ("a.test",)
        assert upkeep.maintenance.memory.state("a.test").left_out == ("broken.a.test",)
        stage.pebble.dns.clear_servfail("broken.a.test")
        stage.clock.forward(hours=2)
        upkeep.maintenance.check_soon("a.test")
        wait_for(lambda: stage.version("a.test") == 2, "the name is back", seconds=60)
        live = stage.writer.live_version("a.test")
        assert live is not None
        assert set(live.dns_names) == {"a.test", "broken.a.test"}


def test_ca_out_of_reach_is_on_record_with_the_step_that_failed(tmp_path: Path) -> None:
    with scene(tmp_path) as stage:
        stage.pebble.stop()
        stage.add("a.test")
        with stage.running() as upkeep:
            wait_for(lambda: stage.attempts("a.test"), "a failed attempt", seconds=60)
        assert "could not connect to the CA's host" in stage.attempts("a.test")[0].message
        assert upkeep.maintenance.memory.state("a.test").ca_failures == 1


def test_ca_that_is_down_is_not_waited_for_once_per_site(tmp_path: Path) -> None:
    asked = []
    with socket.create_server(("localhost", 0)) as listener, scene(tmp_path) as stage:

        def answer_nothing() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    asked.append(connection)
                    connection.close()

        thread = threading.Thread(target=answer_nothing)
        thread.start()
        acme = stage.settings.acme.model_copy(
            update={"directory": f"https://localhost:{listener.getsockname()[1]}/dir"}
        )
        stage.settings = stage.settings.model_copy(update={"acme": acme})
        sites = [stage.add(f"s{number}.test") for number in range(12)]
        with stage.running():
            wait_for(lambda: all(stage.attempts(site) for site in sites), "every site's failure", seconds=60)
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert len(asked) <= 2 * CHECKS_AT_ONCE, "the first attempts, each with one check of what is wrong"


def test_terms_that_nobody_agreed_to_need_a_person(tmp_path: Path) -> None:
    with scene(tmp_path, agree_to_terms=False) as stage:
        stage.add("a.test")
        with stage.running() as upkeep:
            wait_for(lambda: stage.attempts("a.test"), "a failed attempt", seconds=60)
            assert stage.attempts("a.test")[0].reason == Cause.TERMS.value
            perform(upkeep, RegisterAccountsRequest(agree_to_terms=True))
            wait_for(lambda: stage.version("a.test") == 1, "ordered as soon as there is an account", seconds=60)


def test_ca_that_forgot_our_account_gets_it_again(stage: Scene) -> None:
    stage.add("a.test")
    with stage.running():
        wait_for(lambda: stage.version("a.test") == 1, "a certificate", seconds=60)
        stage.pebble.stop()
        stage.pebble.start()
        stage.clock.forward(minutes=1)
        stage.add("b.test")
        wait_for(lambda: stage.version("b.test") == 1, "a certificate", seconds=60)


def test_many_sites_run_a_few_at_once(stage: Scene) -> None:
    sites = [stage.add(f"s{number}.test") for number in range(12)]
    with stage.running() as upkeep:
        most = 0

        def all_done() -> bool:
            nonlocal most
            most = max(most, upkeep.maintenance.under_way)
            return all(stage.version(site) == 1 for site in sites)

        wait_for(all_done, "all certificates", seconds=60)
    assert 2 <= most <= 4
    assert stage.pebble.orders() == 12
    assert stage.pebble.accounts() == 1


def test_stop_in_the_middle_of_an_order_leaves_it_to_the_next_start(stage: Scene) -> None:
    stage.add("a.test")
    with stage.running():
        wait_for(lambda: stage.responder.asked, "an order has begun", seconds=60)
    assert stage.tokens() == []
    with stage.running():
        wait_for(lambda: stage.version("a.test") == 1, "a certificate", seconds=60)
    assert stage.pebble.orders() == 1


def test_interrupted_order_that_is_not_due_is_resumed_at_the_next_start(stage: Scene) -> None:
    stage.add("a.test")
    with stage.running():
        wait_for(lambda: stage.version("a.test") == 1, "a certificate", seconds=60)
    upkeep = stage.upkeep()
    with pytest.raises(Interrupted):
        upkeep.maintenance.attempt_now("a.test", lambda step: upkeep.stop() if "all names are proven" in step else None)
    assert stage.version("a.test") == 1
    for _ in range(2):
        with stage.running() as upkeep:
            wait_for(lambda: stage.version("a.test") == 2, "the certificate that was asked for", seconds=60)
            began = stage.clock()
            wait_for(lambda: upkeep.maintenance.last_round > began, "a round")  # noqa: B023  waited for here
    assert stage.pebble.orders() == 2, "resumed once, and ordered nothing anew"


def test_tokens_that_a_kill_left_are_gone_after_the_start(stage: Scene) -> None:
    stage.add("a.test")
    with stage.running() as upkeep:
        wait_for(lambda: stage.version("a.test") == 1, "a certificate", seconds=60)
        (thumbprint,) = upkeep.maintenance.context.accounts.thumbprints()
    folder = stage.writer.layout.challenges
    (folder / ("o" * 43)).write_text(f"{'o' * 43}.{thumbprint}")
    (folder / ("p" * 43)).write_text("certedge-preflight.abc")
    others = folder / ("c" * 43)
    others.write_text(f"{'c' * 43}.{'x' * 43}")
    with stage.running():
        assert stage.tokens() == [others], "the token of another client stays"
    others.unlink()


def test_removed_site_is_forgotten(stage: Scene) -> None:
    stage.responder.unhelpful = {"a.test"}
    with stage.running() as upkeep:
        stage.add("a.test")
        wait_for(lambda: upkeep.maintenance.memory.state("a.test").failures, "a failed attempt", seconds=60)
        stage.writer.remove_site("a.test")
        wait_for(lambda: "a.test" not in upkeep.maintenance.memory.states(), "nothing is remembered")


def test_key_pair_of_the_site_and_its_own_contact_count(stage: Scene) -> None:
    with stage.running():
        stage.add("a.test", key_type="ec256+rsa2048")
        wait_for(lambda: stage.version("a.test") == 1, "a certificate", seconds=60)
    live = stage.writer.live_version("a.test")
    assert live is not None
    assert live.has_rsa_pair


def test_window_of_the_ca_moves_the_renewal_and_the_order_says_what_it_replaces(tmp_path: Path) -> None:
    with scene(tmp_path) as stage, RenewalWindows(stage.pebble, tmp_path) as front:
        facts = make_settings(stage.pebble, stage.responder.port)
        facts["acme"] |= {"directory": front.directory, "ca_file": str(front.ca_file)}
        stage.settings = Settings.model_validate(facts)
        future = stage.clock() + timedelta(days=30)
        front.window = (future, future + timedelta(days=1))
        front.explanation_url = "https://ca.test/why"
        stage.add("a.test")
        with stage.running() as upkeep:
            wait_for(lambda: stage.version("a.test") == 1, "a certificate", seconds=60)
            memory = upkeep.maintenance.memory
            wait_for(lambda: memory.state("a.test").info is not None, "its window")
            info = memory.state("a.test").info
            assert info is not None
            assert info.window is not None
            assert info.window.explanation_url == "https://ca.test/why"
            (told,) = [each for each in stage.writer.records("a.test") if each.doing == "renewal_info"]
            assert "https://ca.test/why" in told.message
            stage.clock.forward(days=29.5)
            upkeep.maintenance.check_soon("a.test")
            wait_for(lambda: len(front.asked) >= 2, "asked again")
            assert stage.version("a.test") == 1
            stage.clock.forward(days=2)
            upkeep.maintenance.check_soon("a.test")
            wait_for(lambda: stage.version("a.test") == 2, "renewed in its window", seconds=60)
        assert front.replaced == [front.asked[0]]


def test_contact_that_changed_reaches_the_ca_at_the_next_start(stage: Scene) -> None:
    stage.add("a.test")
    with stage.running():
        wait_for(lambda: stage.version("a.test") == 1, "a certificate", seconds=60)
    acme = stage.settings.acme.model_copy(update={"contact": ("new@example.org",)})
    stage.settings = stage.settings.model_copy(update={"acme": acme})
    with stage.running() as upkeep:
        tools = upkeep.maintenance.context

        def contact() -> tuple[str, ...]:
            account = tools.accounts.load(tools.cas[0])
            return account.contact if account is not None else ()

        wait_for(lambda: contact() == ("new@example.org",), "the new contact")


def test_contact_is_changed_by_the_node_that_has_the_duty(stage: Scene) -> None:
    perform(stage.upkeep(), RegisterAccountsRequest(agree_to_terms=True))
    acme = stage.settings.acme.model_copy(update={"contact": ("new@example.org",)})
    stage.settings = stage.settings.model_copy(update={"acme": acme})
    stage.duty = turn = Turn()
    with stage.running() as upkeep:

        def contact() -> tuple[str, ...]:
            account = upkeep.maintenance.context.accounts.load(upkeep.maintenance.context.cas[0])
            return account.contact if account is not None else ()

        began = upkeep.maintenance.last_round
        wait_for(lambda: upkeep.maintenance.last_round > began + timedelta(seconds=2), "rounds go by")
        assert contact() == ("admin@example.org",)
        turn.is_ours = True
        wait_for(lambda: contact() == ("new@example.org",), "the new contact")


def test_second_ca_is_asked_when_the_first_keeps_failing(tmp_path: Path) -> None:
    with scene(tmp_path) as stage:
        dead = "https://localhost:1/dir"
        acme = stage.settings.acme.model_copy(
            update={"directory": dead, "second_directory": stage.settings.acme.directory}
        )
        stage.settings = stage.settings.model_copy(update={"acme": acme})
        stage.add("a.test")
        with stage.running() as upkeep:
            for failures in (1, 2, 3):
                wait_for(
                    lambda failures=failures: upkeep.maintenance.memory.state("a.test").failures == failures,  # type: ignore[misc]
                    f"failure {failures}",
                    seconds=20,
                )
                stage.clock.forward(hours=3)
                upkeep.maintenance.check_soon("a.test")
            wait_for(lambda: stage.version("a.test") == 1, "the second CA's certificate", seconds=60)


def test_limits_are_counted_over_restarts(stage: Scene) -> None:
    stage.add("a.test")
    with stage.running():
        wait_for(lambda: stage.version("a.test") == 1, "a certificate", seconds=60)
    upkeep = stage.upkeep()
    with upkeep.maintenance.memory.ledger(upkeep.maintenance.context.cas[0]) as ledger:
        assert len(ledger.events("orders:")) == 1
    upkeep.stop()


def test_loop_that_stands_still_is_warned_of_and_one_that_runs_is_not(stage: Scene) -> None:
    with stage.running() as upkeep:
        maintenance = upkeep.maintenance
        wait_for(lambda: maintenance.last_round > stage.clock() - timedelta(seconds=5), "a round")
        assert maintenance.warnings(stage.clock()) == []
        late = stage.clock() + STALLED_AFTER + timedelta(minutes=1)
        assert [matter.kind.value for matter, _ in maintenance.warnings(late)] == ["stalled"]


def test_what_is_kept_holds_no_key(stage: Scene) -> None:
    stage.add("a.test")
    with stage.running():
        wait_for(lambda: stage.version("a.test") == 1, "a certificate", seconds=60)
    for path in stage.writer.layout.state.iterdir():
        if path.is_file():
            assert "PRIVATE KEY" not in path.read_text(), path
    assert json.loads(stage.writer.layout.records("a.test").read_text())
