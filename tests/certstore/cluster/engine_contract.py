"""What every engine has to do (certstore/cluster/engine.py), as tests that run on each of them.

An engine's own test module derives from `EngineContract` and provides the fixture `engine`. Every test has a prefix to
itself, so that all can share one running engine.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from itertools import count

import pytest

from certstore.cluster.engine import (
    MOST_BYTES,
    MOST_OPS,
    Batch,
    Committed,
    Compacted,
    CreatedAt,
    Delete,
    Engine,
    EngineLost,
    Following,
    LeaseGone,
    Lost,
    ModifiedAt,
    Put,
    WentBack,
)

TTL = timedelta(seconds=2)
LONG = timedelta(seconds=60)
A_WHILE = 15.0


def written(engine: Engine, *ops: Put | Delete) -> int:
    """Commit under a condition that always holds, and return the revision."""
    outcome = engine.commit([ModifiedAt("/certedge/no-such-key", 0)], ops)
    assert isinstance(outcome, Committed)
    return outcome.revision


def collected(following: Following, until: Callable[[list[Batch]], bool], seconds: float = A_WHILE) -> list[Batch]:
    """The batches with something in them, until the condition holds."""
    batches: list[Batch] = []
    while not until(batches):
        batch = following.next(seconds)
        assert batch is not None, f"only {batches}"
        if batch.put or batch.deleted:
            batches.append(batch)
    return batches


class EngineContract:
    """Derive from it, and provide `engine`, `prefix`, `compact` and `wait_for_ttl`."""

    _numbers = count()

    @pytest.fixture
    def prefix(self) -> str:
        return f"/certedge/contract-{type(self).__name__}-{next(self._numbers)}/"

    @pytest.fixture
    def compact(self) -> Callable[[], None]:
        """Makes the engine forget its history."""
        raise NotImplementedError

    @pytest.fixture
    def after_ttl(self) -> Callable[[Callable[[], bool]], None]:
        """Waits until the condition holds, which it does some time after TTL."""
        raise NotImplementedError

    # --- reading and writing ------------------------------------------------------------------------------------------

    def test_a_key_that_was_written_is_read_with_its_revisions(self, engine: Engine, prefix: str) -> None:
        first = written(engine, Put(prefix + "a", b"one"))
        second = written(engine, Put(prefix + "a", b"two"))
        (item,) = engine.read(prefix).items
        assert (item.key, item.value, item.created, item.modified, item.lease) == (
            prefix + "a",
            b"two",
            first,
            second,
            0,
        )

    @pytest.mark.parametrize(
        "value", [b"", bytes(range(256)), b"\n\r\x00", "ü ☃".encode()], ids=["empty", "every byte", "line ends", "text"]
    )
    def test_a_value_comes_back_byte_for_byte(self, engine: Engine, prefix: str, value: bytes) -> None:
        written(engine, Put(prefix + "a", value))
        assert engine.read(prefix).items[0].value == value

    def test_a_key_keeps_its_characters(self, engine: Engine, prefix: str) -> None:
        keys = [prefix + name for name in ("%2F", "a b", "xn--mller-kva.example", "ü", '"\\')]
        written(engine, *(Put(key, b"x") for key in keys))
        assert [item.key for item in engine.read(prefix).items] == sorted(keys, key=str.encode)

    def test_only_keys_under_the_prefix_are_read(self, engine: Engine, prefix: str) -> None:
        written(engine, Put(prefix + "a", b"x"), Put(prefix[:-1] + "0", b"y"), Put(prefix[:-1], b"z"))
        assert [item.key for item in engine.read(prefix).items] == [prefix + "a"]

    def test_keys_without_values_have_their_revisions(self, engine: Engine, prefix: str) -> None:
        revision = written(engine, Put(prefix + "a", b"x" * 1000))
        (item,) = engine.read(prefix, keys_only=True).items
        assert (item.value, item.modified) == (b"", revision)

    def test_more_keys_than_a_page_are_read_at_one_revision(self, engine: Engine, prefix: str) -> None:
        names = [f"{prefix}{number:05}" for number in range(1300)]
        for start in range(0, len(names), 100):
            written(engine, *(Put(name, b"v") for name in names[start : start + 100]))
        reading = engine.read(prefix)
        assert [item.key for item in reading.items] == names
        assert reading.revision >= max(item.modified for item in reading.items)

    def test_some_keys_are_read_in_the_order_asked_for(self, engine: Engine, prefix: str) -> None:
        written(engine, Put(prefix + "a", b"1"), Put(prefix + "b", b"2"), Put(prefix + "c", b"3"))
        reading = engine.get([prefix + "c", prefix + "missing", prefix + "a"])
        assert [item.value for item in reading.items] == [b"3", b"1"]

    def test_what_was_committed_is_in_the_next_reading(self, engine: Engine, prefix: str) -> None:
        revision = written(engine, Put(prefix + "a", b"x"))
        assert engine.read(prefix).revision >= revision

    def test_a_value_of_nearly_a_megabyte_is_taken(self, engine: Engine, prefix: str) -> None:
        value = bytes(range(256)) * ((MOST_BYTES - 1000) // 256)
        written(engine, Put(prefix + "big", value))
        assert engine.read(prefix).items[0].value == value

    def test_a_whole_commit_of_the_largest_size_is_taken(self, engine: Engine, prefix: str) -> None:
        ops = [Put(f"{prefix}{number}", b"x" * (MOST_BYTES // MOST_OPS - 200)) for number in range(MOST_OPS)]
        outcome = engine.commit([ModifiedAt(op.key, 0) for op in ops], ops)
        assert isinstance(outcome, Committed)
        assert {item.modified for item in engine.read(prefix, keys_only=True).items} == {outcome.revision}

    @pytest.mark.parametrize("case", ["no compare", "no operation", "too many", "too large", "twice"])
    def test_a_commit_that_no_engine_takes_is_an_error(self, engine: Engine, prefix: str, case: str) -> None:
        put = Put(prefix + "a", b"x")
        cases: dict[str, list[Put | Delete]] = {
            "no compare": [put],
            "no operation": [],
            "too many": [Put(f"{prefix}{number}", b"") for number in range(MOST_OPS + 1)],
            "too large": [Put(prefix + "a", b"x" * MOST_BYTES)],
            "twice": [put, Delete(prefix + "a")],
        }
        with pytest.raises(ValueError):
            engine.commit([] if case == "no compare" else [ModifiedAt(prefix + "a", 0)], cases[case])
        assert engine.read(prefix).items == ()

    # --- conditions ---------------------------------------------------------------------------------------------------

    def test_a_key_that_must_not_exist_is_created_once(self, engine: Engine, prefix: str) -> None:
        create = [ModifiedAt(prefix + "a", 0)]
        assert isinstance(engine.commit(create, [Put(prefix + "a", b"one")]), Committed)
        assert isinstance(engine.commit(create, [Put(prefix + "a", b"two")]), Lost)
        assert engine.read(prefix).items[0].value == b"one"

    def test_a_change_since_the_reading_loses(self, engine: Engine, prefix: str) -> None:
        before = written(engine, Put(prefix + "a", b"one"))
        written(engine, Put(prefix + "a", b"two"))
        assert isinstance(engine.commit([ModifiedAt(prefix + "a", before)], [Put(prefix + "a", b"late")]), Lost)

    def test_a_key_deleted_and_made_anew_is_another_key(self, engine: Engine, prefix: str) -> None:
        first = written(engine, Put(prefix + "lock", b"edge-a"))
        written(engine, Delete(prefix + "lock"))
        second = written(engine, Put(prefix + "lock", b"edge-a"))
        assert isinstance(engine.commit([CreatedAt(prefix + "lock", first)], [Put(prefix + "a", b"stale")]), Lost)
        assert isinstance(engine.commit([CreatedAt(prefix + "lock", second)], [Put(prefix + "a", b"mine")]), Committed)

    def test_a_key_changed_in_place_keeps_its_creation(self, engine: Engine, prefix: str) -> None:
        created = written(engine, Put(prefix + "lock", b"one"))
        written(engine, Put(prefix + "lock", b"two"))
        assert isinstance(engine.commit([CreatedAt(prefix + "lock", created)], [Put(prefix + "a", b"x")]), Committed)

    def test_one_failed_compare_stops_every_operation(self, engine: Engine, prefix: str) -> None:
        written(engine, Put(prefix + "b", b"there"))
        compares = [ModifiedAt(prefix + "a", 0), ModifiedAt(prefix + "b", 0)]
        assert isinstance(engine.commit(compares, [Put(prefix + "a", b"x"), Delete(prefix + "b")]), Lost)
        assert [item.key for item in engine.read(prefix).items] == [prefix + "b"]

    def test_of_many_writers_one_wins_each_round(self, engine: Engine, prefix: str) -> None:
        won: list[str] = []

        def contend(name: str) -> None:
            won.extend(
                key
                for key in (f"{prefix}{number}" for number in range(20))
                if isinstance(engine.commit([ModifiedAt(key, 0)], [Put(key, name.encode())]), Committed)
            )

        threads = [threading.Thread(target=contend, args=(name,)) for name in ("edge-a", "edge-b", "edge-c")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(won) == sorted(f"{prefix}{number}" for number in range(20))

    # --- following ----------------------------------------------------------------------------------------------------

    def test_changes_after_the_reading_follow_in_order(self, engine: Engine, prefix: str) -> None:
        written(engine, Put(prefix + "before", b"x"))
        start = engine.read(prefix).revision
        revisions = [written(engine, Put(prefix + "a", str(number).encode())) for number in range(10)]
        with engine.follow(prefix, start) as following:
            batches = collected(following, lambda got: len(got) == 10)
        assert [batch.revision for batch in batches] == revisions
        assert [batch.put[0].value for batch in batches] == [str(number).encode() for number in range(10)]

    def test_a_change_arrives_while_the_feed_waits(self, engine: Engine, prefix: str) -> None:
        with engine.follow(prefix, engine.read(prefix).revision) as following:
            assert following.next(0) is None
            written(engine, Put(prefix + "a", b"x"))
            (batch,) = collected(following, lambda got: len(got) == 1)
        assert [(item.key, item.value) for item in batch.put] == [(prefix + "a", b"x")]

    def test_all_of_one_commit_is_one_batch(self, engine: Engine, prefix: str) -> None:
        written(engine, Put(prefix + "old", b"x"))
        start = engine.read(prefix).revision
        revision = written(
            engine, *(Put(f"{prefix}{number:03}", b"v" * 7000) for number in range(100)), Delete(prefix + "old")
        )
        written(engine, Put(prefix + "next", b"x"))
        with engine.follow(prefix, start) as following:
            first, second = collected(following, lambda got: len(got) == 2)
        assert (first.revision, len(first.put), first.deleted) == (revision, 100, (prefix + "old",))
        assert [item.key for item in second.put] == [prefix + "next"]

    def test_many_large_commits_since_then_follow_whole(self, engine: Engine, prefix: str) -> None:
        start = engine.read(prefix).revision
        for round_ in range(8):
            written(engine, *(Put(f"{prefix}{round_}-{number:03}", b"v" * 7000) for number in range(120)))
        with engine.follow(prefix, start) as following:
            batches = collected(following, lambda got: len(got) == 8)
        assert [len(batch.put) for batch in batches] == [120] * 8
        assert sum(len(item.value) for batch in batches for item in batch.put) == 8 * 120 * 7000

    def test_changes_elsewhere_do_not_follow(self, engine: Engine, prefix: str) -> None:
        start = engine.read(prefix).revision
        written(engine, Put(prefix[:-1] + "0", b"x"))
        written(engine, Put(prefix + "a", b"x"), Put(prefix[:-1] + "1", b"x"))
        with engine.follow(prefix, start) as following:
            (batch,) = collected(following, lambda got: len(got) == 1)
        assert [item.key for item in batch.put] == [prefix + "a"]

    def test_a_feed_resumed_after_a_batch_repeats_and_loses_nothing(self, engine: Engine, prefix: str) -> None:
        start = engine.read(prefix).revision
        for number in range(6):
            written(engine, Put(f"{prefix}{number}", b"x"))
        seen: list[str] = []
        for _ in range(6):
            with engine.follow(prefix, start) as following:
                (batch,) = collected(following, lambda got: len(got) == 1)
            start = batch.revision
            seen += [item.key for item in batch.put]
        assert seen == [f"{prefix}{number}" for number in range(6)]

    def test_compacted_history_is_said(self, engine: Engine, prefix: str, compact: Callable[[], None]) -> None:
        start = engine.read(prefix).revision
        for _ in range(3):
            written(engine, Put(prefix + "a", b"x"))
        compact()
        with engine.follow(prefix, start) as following, pytest.raises(Compacted):
            collected(following, lambda got: False)

    def test_a_feed_goes_on_over_a_compaction_of_what_it_has_seen(
        self, engine: Engine, prefix: str, compact: Callable[[], None]
    ) -> None:
        with engine.follow(prefix, engine.read(prefix).revision) as following:
            written(engine, Put(prefix + "a", b"x"))
            collected(following, lambda got: len(got) == 1)
            compact()
            written(engine, Put(prefix + "b", b"x"))
            (batch,) = collected(following, lambda got: len(got) == 1)
        assert [item.key for item in batch.put] == [prefix + "b"]

    def test_a_feed_from_the_future_is_said(self, engine: Engine, prefix: str) -> None:
        future = engine.read(prefix).revision + 1_000_000
        with engine.follow(prefix, future) as following, pytest.raises(WentBack):
            collected(following, lambda got: False)

    def test_closing_ends_a_feed_that_waits(self, engine: Engine, prefix: str) -> None:
        following = engine.follow(prefix, engine.read(prefix).revision)
        ended = threading.Event()

        def wait() -> None:
            try:
                while True:
                    following.next(60.0)
            except EngineLost:
                ended.set()

        thread = threading.Thread(target=wait)
        thread.start()
        following.close()
        following.close()
        thread.join(A_WHILE)
        assert ended.is_set()

    # --- leases -------------------------------------------------------------------------------------------------------

    def test_a_key_goes_with_its_lease(
        self, engine: Engine, prefix: str, after_ttl: Callable[[Callable[[], bool]], None]
    ) -> None:
        lease = engine.grant(TTL)
        revision = written(engine, Put(prefix + "lock", b"edge-a", lease))
        assert engine.read(prefix).items[0].lease == lease
        after_ttl(lambda: not engine.read(prefix).items)
        with engine.follow(prefix, revision) as following:
            (batch,) = collected(following, lambda got: len(got) == 1)
        assert batch.deleted == (prefix + "lock",)
        with pytest.raises(LeaseGone):
            engine.keep(lease)

    def test_a_lease_that_is_kept_outlives_its_time(
        self, engine: Engine, prefix: str, after_ttl: Callable[[Callable[[], bool]], None]
    ) -> None:
        kept, left = engine.grant(TTL), engine.grant(TTL)
        written(engine, Put(prefix + "kept", b"x", kept), Put(prefix + "left", b"x", left))

        def is_left_gone() -> bool:
            assert engine.keep(kept) == TTL
            return len(engine.read(prefix).items) == 1

        after_ttl(is_left_gone)
        assert [item.key for item in engine.read(prefix).items] == [prefix + "kept"]
        engine.revoke(kept)

    def test_a_revoked_lease_takes_its_keys_at_once(self, engine: Engine, prefix: str) -> None:
        lease = engine.grant(LONG)
        written(engine, Put(prefix + "a", b"x", lease), Put(prefix + "b", b"x"))
        engine.revoke(lease)
        engine.revoke(lease)
        assert [item.key for item in engine.read(prefix).items] == [prefix + "b"]

    def test_a_write_under_a_lease_that_has_ended_writes_nothing(self, engine: Engine, prefix: str) -> None:
        lease = engine.grant(LONG)
        engine.revoke(lease)
        with pytest.raises(LeaseGone):
            written(engine, Put(prefix + "a", b"x"), Put(prefix + "lock", b"x", lease))
        assert engine.read(prefix).items == ()

    def test_the_holder_of_a_lost_lock_is_fenced_off(self, engine: Engine, prefix: str) -> None:
        lock, head = prefix + "lock", prefix + "head"
        mine, theirs = engine.grant(LONG), engine.grant(LONG)
        created = written(engine, Put(lock, b"edge-a", mine))
        engine.revoke(mine)
        assert isinstance(engine.commit([ModifiedAt(lock, 0)], [Put(lock, b"edge-b", theirs)]), Committed)
        assert isinstance(engine.commit([CreatedAt(lock, created)], [Put(head, b"of edge-a")]), Lost)
        assert [item.key for item in engine.read(prefix).items] == [lock]
        engine.revoke(theirs)

    # --- the member ---------------------------------------------------------------------------------------------------

    def test_the_member_says_where_it_is(self, engine: Engine, prefix: str) -> None:
        revision = written(engine, Put(prefix + "a", b"x"))
        status = engine.status()
        assert status.revision >= revision
        assert status.cluster
        assert status.leader
        assert status.used_bytes > 0
