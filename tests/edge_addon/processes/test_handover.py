"""What a supervisor leaves to the next release: nothing is lost on the way, and another process's is not taken."""

import math
import os
from dataclasses import replace
from pathlib import Path

import pytest

from edge_addon.listeners.listening import HeldSocket
from edge_addon.processes import handover, upgrade
from edge_addon.processes.fleet import Child, Order, Phase, Role, Slot
from edge_addon.processes.handover import Handover, HeldChild
from tests.ports import listening_socket

LEAVING = Child(70, Slot(Role.WORKER, 2), 5, 12.5, 99.0, Phase.LEAVING, Order.RETIRE, has_sockets=False)
CONTROL = Child(71, Slot(Role.CONTROL), 5, 12.5, math.inf, Phase.READY)


def facts(pid: int, *sockets: HeldSocket, ends: tuple[int, int] = (0, 1)) -> Handover:
    children = (HeldChild.of(LEAVING, None), HeldChild.of(CONTROL, 9))
    return Handover(pid, "1.0 in /a", ("/a/certedge", "run"), "store: s\n", 3, sockets, ends, children)


def passed_on(given: Handover, variable: str) -> Handover | None:
    with handover.written(given) as descriptor:
        environment = {variable: str(os.dup(descriptor)), "OTHER": "stays"}
        taken = handover.take(environment, variable)
    assert environment == {"OTHER": "stays"}
    return taken


def test_all_facts_arrive() -> None:
    given = facts(1, HeldSocket(5, ("::", 443), is_inherited=True), HeldSocket(6, None, is_inherited=False))
    assert passed_on(given, handover.TRY) == given
    assert given.descriptors == [5, 6, 0, 1, 9]


def test_children_of_the_release_before_are_of_generation_0() -> None:
    leaving, control = (each.child() for each in facts(1).children)
    assert (leaving.generation, control.generation) == (0, 0)
    leaving.generation = control.generation = 5
    assert (leaving, control) == (LEAVING, CONTROL)


def test_nothing_is_taken_without_the_variable() -> None:
    assert handover.take({}, handover.TAKE_OVER) is None


def test_what_is_for_another_process_is_not_taken_over() -> None:
    with pytest.raises(ValueError, match="is for process 1"):
        passed_on(facts(1), handover.TAKE_OVER)


def test_unknown_facts_of_a_newer_release_are_ignored() -> None:
    given = facts(1)
    assert Handover.from_json(given.to_json() | {"later": 1}) == given


def test_trial_fails_if_this_release_does_not_know_the_phase_of_a_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = facts(1)
    later = replace(given, children=(replace(given.children[0], phase="LATER"),))
    with handover.written(later) as descriptor:
        monkeypatch.setenv(handover.TRY, str(os.dup(descriptor)))
        assert upgrade.perform_trial(tmp_path / "edge.yaml") == 1
    assert "does not start: KeyError: 'LATER'" in capsys.readouterr().err


def test_program_that_can_not_be_executed_leaves_no_descriptor_to_children(tmp_path: Path) -> None:
    with listening_socket() as listener:
        held = HeldSocket(listener.fileno(), None, is_inherited=False)
        ends = os.pipe()
        children = facts(1).children[:1]
        given = Handover(os.getpid(), "1.0", (), "", 1, (held,), ends, children)
        with pytest.raises(FileNotFoundError):
            handover.execute((str(tmp_path / "no-such-program"),), given)
        assert not any(map(os.get_inheritable, given.descriptors))
        for each in ends:
            os.close(each)
