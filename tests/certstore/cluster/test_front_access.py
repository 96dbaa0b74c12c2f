"""Which credentials are good for a front. A real engine refuses in test_stolen_front_real_servers."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from certstore.cluster.engine import Compare, EngineRefused, Op, Outcome
from certstore.cluster.front_access import AccessTooWide, check_front_access, setup_script
from certstore.cluster.invitation import identity_of_front
from certstore.model.cluster.paths import ClusterPaths
from tests.certstore.cluster.memory_engine import MemoryEngine, MemoryStore

PATHS = ClusterPaths("0123456789abcdef")
OWN = (PATHS.live("edge-f"), PATHS.invite(identity_of_front(PATHS.cluster, "edge-f")))


class GuardedEngine(MemoryEngine):
    """Lets its user write only some keys: those named, and all below what ends with a slash."""

    def __init__(self, store: MemoryStore, *allowed: str) -> None:
        super().__init__(store)
        self.allowed = allowed

    def commit(self, compares: Sequence[Compare], ops: Sequence[Op]) -> Outcome:
        folders = tuple(each for each in self.allowed if each.endswith("/"))
        if not all(op.key in self.allowed or op.key.startswith(folders) for op in ops):
            raise EngineRefused("permission denied")
        return super().commit(compares, ops)


def test_one_that_only_says_how_the_front_is_is_good() -> None:
    store = MemoryStore()
    check_front_access(GuardedEngine(store, *OWN), PATHS, "edge-f")
    assert MemoryEngine(store).read("/").items == (), "to ask changes nothing"


@pytest.mark.parametrize(
    ("allowed", "said"),
    [
        pytest.param((PATHS.prefix,), "could write", id="a full node's"),
        pytest.param((*OWN, f"{PATHS.prefix}t/"), "/t/", id="one that shows tokens"),
        pytest.param((*OWN, PATHS.member("edge-f")), "n/member/edge-f", id="one that writes its own membership"),
        pytest.param((*OWN, f"{PATHS.prefix}n/live/"), "n/live/edge-f-x", id="one that speaks for others"),
        pytest.param((*OWN, f"{PATHS.prefix}d/"), "d/site/main", id="one that deletes sites"),
        pytest.param((*OWN, f"{PATHS.prefix}n/lock/"), "n/lock/main", id="one that holds locks"),
        pytest.param((OWN[0],), "could not write", id="one that can't use its invitation up"),
        pytest.param((), "could not write", id="one that can't say how the front is"),
    ],
)
def test_others_are_refused(allowed: tuple[str, ...], said: str) -> None:
    with pytest.raises(AccessTooWide, match=said):
        check_front_access(GuardedEngine(MemoryStore(), *allowed or ("/nothing",)), PATHS, "edge-f")


def test_the_script_holds_no_password_and_gives_what_is_checked() -> None:
    script = setup_script(PATHS.cluster, "edge-f")
    for key in OWN:
        assert f"grant-permission certedge-front-edge-f readwrite {key}\n" in script
    assert script.count("readwrite") == 3
    assert f"grant-permission --prefix=true certedge-front-edge-f read {PATHS.prefix}\n" in script
    assert "new-user-password" not in script
