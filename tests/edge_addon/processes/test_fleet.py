import math

import pytest

from edge_addon.processes.fleet import (
    EARLY_EXIT_SECONDS,
    GRACE_SECONDS,
    QUIT_SECONDS,
    START_SECONDS,
    Action,
    Fleet,
    Order,
    Role,
    Slot,
    Start,
    Stop,
    backoff,
)

CONTROL = Slot(Role.CONTROL)
FIRST, SECOND, THIRD = (Slot(Role.WORKER, number) for number in (1, 2, 3))
DRAIN = 60.0


class Course:
    """A fleet on an operating system that always obeys and assigns the pids 1, 2, 3, …"""

    def __init__(self, workers: int = 2) -> None:
        self.fleet = Fleet(workers, DRAIN)
        self.now = 1000.0
        self._pid = 0
        self.pids: dict[tuple[Slot, int], int] = {}

    def act(self) -> list[Action]:
        actions = self.fleet.decide(self.now)
        for action in actions:
            if isinstance(action, Start):
                self._pid += 1
                self.pids[action.slot, action.generation] = self._pid
                self.fleet.started(action.slot, self._pid, self.now)
        return actions

    def pid(self, slot: Slot, generation: int = 1) -> int:
        return self.pids[slot, generation]

    def is_ready(self, slot: Slot, generation: int = 1) -> None:
        self.fleet.ready(self.pid(slot, generation))

    def ends(self, slot: Slot, generation: int = 1) -> None:
        self.fleet.exited(self.pid(slot, generation), self.now)

    def is_settled(self) -> bool:
        return self.fleet.is_settled

    def run(self) -> "Course":
        """Everything started and ready."""
        self.act()
        self.is_ready(CONTROL)
        self.act()
        for slot in (FIRST, SECOND):
            if (slot, 1) in self.pids:
                self.is_ready(slot)
        assert self.act() == []
        return self


@pytest.mark.parametrize(("failures", "seconds"), [(0, 0), (1, 0), (2, 1), (3, 2), (4, 4), (6, 16), (7, 30), (99, 30)])
def test_backoff_doubles_up_to_thirty_seconds(failures: int, seconds: float) -> None:
    assert backoff(failures) == seconds


def test_control_starts_first_and_workers_when_it_is_ready() -> None:
    course = Course()
    assert course.act() == [Start(CONTROL, 1)]
    assert course.act() == []
    course.is_ready(CONTROL)
    assert course.act() == [Start(FIRST, 1), Start(SECOND, 1)]


def test_workers_start_without_control_on_a_store_that_was_used_before() -> None:
    course = Course()
    course.act()
    course.ends(CONTROL)
    course.fleet.is_store_ready = True
    assert course.act() == [Start(CONTROL, 1), Start(FIRST, 1), Start(SECOND, 1)]


def test_without_a_store_a_failed_control_keeps_workers_waiting() -> None:
    course = Course()
    course.act()
    course.ends(CONTROL)
    assert course.act() == [Start(CONTROL, 1)]


def test_settled_only_when_all_are_ready() -> None:
    course = Course()
    course.act()
    course.is_ready(CONTROL)
    course.act()
    course.is_ready(FIRST)
    assert not course.is_settled()
    course.is_ready(SECOND)
    assert course.is_settled()


def test_workers_that_serve_do_not_wait_for_a_control_that_fails() -> None:
    course = Course()
    course.act()
    course.ends(CONTROL)
    course.fleet.is_store_ready = True
    course.act()
    assert not course.is_settled()
    course.is_ready(FIRST)
    course.is_ready(SECOND)
    assert course.is_settled()
    assert not course.fleet.is_complete
    course.is_ready(CONTROL)
    assert course.fleet.is_complete


def test_a_store_that_was_used_before_is_served_without_waiting_for_control() -> None:
    fleet = Fleet(2, DRAIN, is_store_ready=True)
    assert fleet.decide(0.0) == [Start(CONTROL, 1), Start(FIRST, 1), Start(SECOND, 1)]


def test_a_fleet_without_workers_runs_control_alone() -> None:
    course = Course(workers=0)
    course.act()
    course.is_ready(CONTROL)
    assert course.is_settled()
    assert course.act() == []


def test_a_crashed_worker_is_restarted_immediately_and_no_other_is_touched() -> None:
    course = Course().run()
    course.now += 1
    course.ends(SECOND)
    assert course.act() == [Start(SECOND, 1)]


def test_control_and_workers_survive_without_each_other() -> None:
    course = Course().run()
    course.ends(CONTROL)
    assert course.act() == [Start(CONTROL, 1)]
    course.ends(FIRST)
    assert course.act() == [Start(FIRST, 1)]


def test_a_process_that_keeps_failing_is_restarted_ever_more_slowly_but_always() -> None:
    course = Course().run()
    waits = []
    for _ in range(9):
        course.ends(FIRST)
        due = course.fleet.restarts_at(FIRST)
        waits.append(due - course.now)
        if due > course.now:
            assert course.act() == []
            assert course.fleet.next_deadline() == due
        course.now = due
        assert course.act() == [Start(FIRST, 1)]
    assert waits == [0, 1, 2, 4, 8, 16, 30, 30, 30]


def test_a_process_that_ran_long_is_restarted_immediately() -> None:
    course = Course().run()
    for _ in range(4):
        course.ends(FIRST)
        course.now = course.fleet.restarts_at(FIRST)
        course.act()
    course.now += EARLY_EXIT_SECONDS
    course.ends(FIRST)
    assert course.act() == [Start(FIRST, 1)]


def test_a_fork_that_the_system_refuses_counts_as_a_failure() -> None:
    fleet = Fleet(1, DRAIN)
    for now in (0.0, 0.0):
        assert fleet.decide(now) == [Start(CONTROL, 1)]
        fleet.failed_to_start(CONTROL, now)
    assert fleet.decide(0.5) == []
    assert fleet.next_deadline() == 1.0


def test_reload_replaces_workers_one_by_one_the_new_one_ready_before_the_old_one_drains() -> None:
    course = Course().run()
    course.fleet.reload(2, DRAIN, is_store_ready=True)
    assert course.act() == [Stop(course.pid(CONTROL), Order.STOP), Start(FIRST, 2)]
    assert course.act() == []
    course.is_ready(FIRST, 2)
    assert course.act() == [Stop(course.pid(FIRST), Order.RETIRE), Start(SECOND, 2)]
    course.is_ready(SECOND, 2)
    assert course.act() == [Stop(course.pid(SECOND), Order.RETIRE)]
    assert not course.is_settled()
    course.ends(CONTROL)
    assert course.act() == [Start(CONTROL, 2)]
    course.is_ready(CONTROL, 2)
    assert course.is_settled()
    course.ends(FIRST)
    course.ends(SECOND)
    assert course.act() == []


def test_a_new_control_waits_until_the_old_one_has_released_the_store() -> None:
    course = Course().run()
    course.fleet.reload(2, DRAIN, is_store_ready=True)
    course.act()
    assert Start(CONTROL, 2) not in course.act()
    course.ends(CONTROL)
    assert Start(CONTROL, 2) in course.act()


def test_with_another_store_workers_wait_for_its_control() -> None:
    course = Course().run()
    course.fleet.reload(2, DRAIN, is_store_ready=False)
    assert course.act() == [Stop(course.pid(CONTROL), Order.STOP)]
    course.ends(CONTROL)
    assert course.act() == [Start(CONTROL, 2)]
    assert course.act() == []
    course.is_ready(CONTROL, 2)
    assert course.act() == [Start(FIRST, 2)]


def test_a_replacement_that_dies_leaves_the_old_worker_serving() -> None:
    course = Course(workers=1).run()
    course.fleet.reload(1, DRAIN, is_store_ready=True)
    course.act()
    course.ends(FIRST, 2)
    assert course.act() == [Start(FIRST, 2)]
    course.ends(FIRST, 2)
    assert course.act() == []
    assert course.fleet.next_deadline() == course.now + 1
    course.now += 1
    assert course.act() == [Start(FIRST, 2)]
    assert course.pid(FIRST) in course.fleet.children


def test_surplus_workers_after_a_reload_retire_last() -> None:
    course = Course().run()
    course.fleet.reload(1, DRAIN, is_store_ready=True)
    course.act()
    course.ends(CONTROL)
    course.act()
    course.is_ready(CONTROL, 2)
    assert course.act() == []
    course.is_ready(FIRST, 2)
    actions = course.act()
    assert Stop(course.pid(FIRST), Order.RETIRE) in actions
    assert Stop(course.pid(SECOND), Order.RETIRE) in actions
    course.ends(FIRST)
    course.ends(SECOND)
    assert course.act() == []


def test_additional_workers_after_a_reload_start_immediately() -> None:
    course = Course().run()
    course.fleet.reload(3, DRAIN, is_store_ready=True)
    assert Start(THIRD, 2) in course.act()


def test_stop_lets_every_process_finish_and_starts_none() -> None:
    course = Course().run()
    course.fleet.stop()
    assert course.act() == [Stop(course.pid(slot), Order.STOP) for slot in (CONTROL, FIRST, SECOND)]
    assert course.act() == []
    for slot in (CONTROL, FIRST):
        course.ends(slot)
        assert course.act() == []
        assert not course.fleet.has_ended
    course.ends(SECOND)
    assert course.fleet.has_ended


def test_a_second_stop_quits_all_processes_even_those_that_drain() -> None:
    course = Course().run()
    course.fleet.stop()
    course.act()
    course.fleet.stop()
    assert course.act() == [Stop(course.pid(slot), Order.QUIT) for slot in (CONTROL, FIRST, SECOND)]
    assert course.act() == []
    assert course.fleet.next_deadline() == course.now + QUIT_SECONDS
    course.now += QUIT_SECONDS
    assert course.act() == [Stop(course.pid(slot), Order.KILL) for slot in (CONTROL, FIRST, SECOND)]


def test_a_worker_that_already_drains_gets_no_second_order_at_the_stop() -> None:
    course = Course().run()
    course.fleet.reload(2, DRAIN, is_store_ready=True)
    course.act()
    course.is_ready(FIRST, 2)
    course.act()
    course.fleet.stop()
    assert Stop(course.pid(FIRST), Order.STOP) not in course.act()


def test_a_process_that_does_not_stop_in_time_is_killed_once() -> None:
    course = Course().run()
    course.fleet.stop()
    course.act()
    course.now += DRAIN + GRACE_SECONDS - 0.1
    assert course.act() == []
    course.now += 0.1
    assert len(course.act()) == 3
    assert course.act() == []
    assert course.fleet.next_deadline() is None


def test_a_process_that_does_not_become_ready_is_killed_and_restarted() -> None:
    course = Course()
    course.act()
    course.now += START_SECONDS
    assert course.act() == [Stop(course.pid(CONTROL), Order.KILL)]
    course.ends(CONTROL)
    assert course.act() == [Start(CONTROL, 1)]


def test_a_ready_process_has_no_deadline() -> None:
    course = Course().run()
    assert course.fleet.next_deadline() is None


def test_unknown_processes_and_late_reports_change_nothing() -> None:
    course = Course().run()
    assert course.fleet.exited(4711, course.now) is None
    course.fleet.ready(4711)
    course.fleet.stop()
    course.act()
    course.is_ready(FIRST)
    assert course.act() == []


def test_sockets_of_a_generation_are_in_use_until_its_last_worker_has_closed_them_or_ended() -> None:
    course = Course().run()
    assert course.fleet.oldest_listening == 1
    course.fleet.reload(2, DRAIN, is_store_ready=True)
    course.act()
    course.fleet.closed_sockets(course.pid(FIRST))
    assert course.fleet.oldest_listening == 1
    course.ends(SECOND)
    assert course.fleet.oldest_listening == 2
    assert Fleet(2, DRAIN).oldest_listening == math.inf
