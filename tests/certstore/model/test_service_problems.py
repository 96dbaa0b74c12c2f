"""What is wrong with the service beside its certificates."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from certstore.model.service_problems import (
    NAMED,
    DiskSpace,
    DownUpstream,
    ReachedUpstream,
    ServiceProblem,
    find_service_problems,
    still_down,
)
from certstore.model.service_state import ServiceState, Verdict

NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
STATE = ServiceState(7, "1", "/etc/edge.yaml", "d", NOW, 1, 1, Verdict.SERVING, "serving")
ROOM = DiskSpace(1 << 30, 100_000, is_read_only=False)
DOWN = DownUpstream("web", "http://10.0.0.1", "connection refused", NOW - MINUTE, NOW)


@pytest.mark.parametrize(
    ("state", "disk", "code", "words"),
    [
        (STATE, ROOM, None, ""),
        (None, None, None, ""),
        (STATE, replace(ROOM, free_bytes=1 << 20), ServiceProblem.DISK_FULL, "only 1 MB are free"),
        (STATE, replace(ROOM, free_files=3), ServiceProblem.DISK_FULL, "only 3 files"),
        (STATE, replace(ROOM, free_files=None), None, ""),
        (STATE, replace(ROOM, is_read_only=True), ServiceProblem.STORE_READ_ONLY, "/s is mounted read-only"),
        (replace(STATE, problems=("half served",)), ROOM, ServiceProblem.LISTENER_INCOMPLETE, "half served"),
        (
            replace(STATE, verdict=Verdict.REFUSED, message="no such key"),
            ROOM,
            ServiceProblem.SETTINGS_REFUSED,
            "the settings of 2027-03-01 12:00 UTC: no such key",
        ),
        (replace(STATE, tls_problem="another library"), ROOM, ServiceProblem.TLS_FALLBACK, "another library; clients"),
    ],
    ids=str,
)
def test_each_problem_has_its_code_and_words(
    state: ServiceState | None, disk: DiskSpace | None, code: ServiceProblem | None, words: str
) -> None:
    found = find_service_problems(state, [], disk, "/s")
    assert [each.code for each in found] == ([] if code is None else [code])
    assert all(words in each.message for each in found)


def test_upstreams_are_named_but_not_without_end() -> None:
    down = [replace(DOWN, name=f"http://10.0.0.{number}") for number in range(NAMED + 2)]
    found = find_service_problems(STATE, down, ROOM, "/s")
    assert len(found) == NAMED + 1
    assert found[-1].message == "2 more servers are down"
    assert "since 2027-03-01 11:59 UTC: connection refused" in found[0].message


def test_server_that_another_worker_reached_later_is_not_down() -> None:
    later, earlier = ReachedUpstream("web", DOWN.name, NOW + MINUTE), ReachedUpstream("web", DOWN.name, NOW - MINUTE)
    assert still_down([DOWN], [later]) == []
    assert still_down([DOWN], [earlier, replace(later, kind="mail")]) == [DOWN]


def test_server_is_down_since_the_first_worker_saw_it() -> None:
    assert still_down([DOWN, replace(DOWN, since=NOW - 5 * MINUTE)], []) == [replace(DOWN, since=NOW - 5 * MINUTE)]
