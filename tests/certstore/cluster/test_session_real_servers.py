"""The session while real members are killed, paused, left without a quorum and restored: nothing is lost or doubled."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from certstore.cluster.access import all_members
from certstore.cluster.engine import (
    Batch,
    Committed,
    Compacted,
    Delete,
    EngineLost,
    Following,
    Lost,
    ModifiedAt,
    Put,
    Unknown,
    WentBack,
)
from certstore.cluster.etcd import EtcdMember as EtcdMemberEngine
from certstore.cluster.etcd_gateway import engine_context
from certstore.cluster.session import Session
from certstore.model.settings.cluster import ClusterSettings
from tests.deadlines import wait_for
from tests.peers.etcd import Etcd, EtcdMember
from tests.peers.relay import Relay

pytestmark = pytest.mark.slow

PREFIX = "/certedge/session/"
ENOUGH = 20
"""Changes written after a fault, all of which have to follow."""


@pytest.fixture(scope="module")
def etcd() -> Iterator[Etcd]:
    """One that these tests may hurt; each heals it at its end."""
    with Etcd() as running:
        yield running


def session_at(etcd: Etcd, first: EtcdMember) -> Session:
    """Begins at this member."""
    others = [member.endpoint for member in etcd.members if member is not first]
    settings = ClusterSettings(
        engine=(first.endpoint, *others), ca_file=etcd.ca_file, client_cert=etcd.client_cert, node="edge-a"
    )
    return Session(all_members(settings, Path("/")))


def session_members(etcd: Etcd) -> list[EtcdMemberEngine]:
    settings = ClusterSettings(engine=etcd.endpoints, ca_file=etcd.ca_file, client_cert=etcd.client_cert)
    return all_members(settings, Path("/"))


class Writer:
    """Writes numbered changes from another node, as a publisher does: after Unknown it reads back."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.count = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write)

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._stop.set()
        self._thread.join()

    def _write(self) -> None:
        while not self._stop.is_set():
            try:
                if self._write_one():
                    self.count += 1
            except EngineLost:
                self._stop.wait(0.05)

    def _write_one(self) -> bool:
        key, value = f"{PREFIX}{self.count:06}", str(self.count).encode()
        outcome = self._session.commit([ModifiedAt(key, 0)], [Put(key, value)])
        return isinstance(outcome, (Committed, Lost)) or bool(self._session.get([key]).items)

    def write_more(self) -> None:
        until = self.count + ENOUGH
        wait_for(lambda: self.count >= until, f"{until} changes are written", seconds=120)


class Reader:
    """Collects what follows."""

    def __init__(self, feed: Following) -> None:
        self._feed = feed
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read)
        self.batches: list[Batch] = []
        self.raised: Exception | None = None

    def __enter__(self) -> Reader:
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._stop.set()
        self._feed.close()
        self._thread.join()

    def _read(self) -> None:
        try:
            while not self._stop.is_set():
                batch = self._feed.next(0.5)
                if batch is not None:
                    self.batches.append(batch)
        except Exception as error:  # noqa: BLE001  the test asserts on it
            self.raised = error

    @property
    def keys(self) -> list[str]:
        return [item.key for batch in self.batches for item in batch.put]


def erase(session: Session) -> int:
    """Begin with nothing under the prefix; the revision at which that is so."""
    keys = [item.key for item in session.read(PREFIX, keys_only=True).items]
    for start in range(0, len(keys), 100):
        session.commit([ModifiedAt("/none", 0)], [Delete(key) for key in keys[start : start + 100]])
    return session.read(PREFIX, keys_only=True).revision


def follower(etcd: Etcd) -> EtcdMember:
    leader = etcd.leader()
    return next(member for member in etcd.members if member is not leader)


@pytest.mark.parametrize("victim", ["follower", "leader"])
@pytest.mark.parametrize("harm", ["kill", "pause"])
def test_a_member_that_stops_costs_no_change(etcd: Etcd, victim: str, harm: str) -> None:
    member = etcd.leader() if victim == "leader" else follower(etcd)
    with session_at(etcd, member) as session, session_at(etcd, follower(etcd)) as other:
        session.start()
        lease = wait_for(lambda: session.lease, "a lease")
        start = erase(session)
        try:
            with Reader(session.follow(PREFIX, start)) as reader:
                with Writer(other) as writer:
                    writer.write_more()
                    wait_for(lambda: reader.keys, "the feed runs")
                    getattr(member, harm)()
                    writer.write_more()
                    wait_for(lambda: session.attachment.member != member.endpoint, "the session moved")
                    writer.write_more()
                written = [item.key for item in other.read(PREFIX, keys_only=True).items]
                wait_for(lambda: len(reader.keys) >= len(written), "all changes follow")
                assert reader.keys == written
                assert reader.raised is None
            assert session.lease == lease
        finally:
            member.resume() if harm == "pause" else member.start()
            wait_for(lambda: len(etcd.endpoints_that_answer()) == 3, "three members again", seconds=120)
    assert len(written) >= 3 * ENOUGH
    revisions = [batch.revision for batch in reader.batches]
    assert sorted(set(revisions)) == revisions


# --- what a network does ----------------------------------------------------------------------------------------------


def through(etcd: Etcd, relay: Relay) -> EtcdMemberEngine:
    return EtcdMemberEngine(f"https://127.0.0.1:{relay.port}", engine_context(etcd.ca_file, etcd.client_cert))


def port_of(member: EtcdMember) -> int:
    return urlsplit(member.endpoint).port or 0


def test_a_commit_whose_answer_is_lost_is_unknown_and_there(etcd: Etcd) -> None:
    with Relay(port_of(etcd.members[0])) as relay, session_at(etcd, etcd.members[1]) as other:
        erase(other)
        engine = through(etcd, relay)
        engine.read(PREFIX)  # a connection that is open
        relay.hold_answers()
        assert isinstance(engine.commit([ModifiedAt(PREFIX + "a", 0)], [Put(PREFIX + "a", b"x")]), Unknown)
        assert [item.value for item in other.read(PREFIX).items] == [b"x"]
        relay.release()
        assert isinstance(engine.commit([ModifiedAt(PREFIX + "a", 0)], [Put(PREFIX + "a", b"x")]), Lost)
        engine.close()


@pytest.mark.parametrize("is_overtaken", [True, False], ids=["another was faster", "nobody was faster"])
def test_a_commit_that_arrives_late_changes_nothing_newer(etcd: Etcd, is_overtaken: bool) -> None:
    key = PREFIX + "late"
    with Relay(port_of(etcd.members[0])) as relay, session_at(etcd, etcd.members[1]) as other:
        erase(other)
        engine = through(etcd, relay)
        engine.read(PREFIX)
        relay.hold_requests()
        assert isinstance(engine.commit([ModifiedAt(key, 0)], [Put(key, b"late")]), Unknown)
        assert other.read(PREFIX).items == ()
        if is_overtaken:
            assert isinstance(other.commit([ModifiedAt(key, 0)], [Put(key, b"newer")]), Committed)
        assert relay.is_holding
        relay.release()
        wait_for(lambda: not relay.is_holding, "what was held is delivered")
        if is_overtaken:
            assert [item.value for item in other.read(PREFIX).items] == [b"newer"]
        else:
            wait_for(
                lambda: [item.value for item in other.read(PREFIX).items] == [b"late"], "it is applied", seconds=10
            )
        engine.close()


def test_a_connection_that_is_cut_without_a_word_costs_no_change(etcd: Etcd) -> None:
    with Relay(port_of(etcd.members[0])) as relay, session_at(etcd, etcd.members[1]) as other:
        start = erase(other)
        members = [through(etcd, relay), *(m for m in session_members(etcd) if m.endpoint == etcd.endpoints[1])]
        with Session(members) as session:
            session.start()
            lease = wait_for(lambda: session.lease, "a lease")
            assert session.member is members[0]
            with Reader(session.follow(PREFIX, start)) as reader, Writer(other) as writer:
                writer.write_more()
                wait_for(lambda: reader.keys, "the feed runs")
                relay.hold_requests()
                relay.hold_answers()
                writer.write_more()
                wait_for(lambda: session.attachment.member == members[1].endpoint, "moved")
                until = writer.count
                wait_for(lambda: len(reader.keys) >= until, "all changes follow")
                assert reader.raised is None
            assert session.lease == lease
        assert reader.keys == sorted(set(reader.keys))


def test_without_a_quorum_the_session_says_so_and_loses_nothing(etcd: Etcd) -> None:
    leader = etcd.leader()
    others = [member for member in etcd.members if member is not leader]
    with session_at(etcd, leader) as session:
        session.start()
        wait_for(lambda: session.lease, "a lease")
        start = erase(session)
        with Reader(session.follow(PREFIX, start)) as reader:
            for member in others:
                member.pause()
            try:
                wait_for(lambda: not session.attachment.is_attached, "detached")
                with pytest.raises(EngineLost):
                    session.read(PREFIX)
            finally:
                for member in others:
                    member.resume()
            wait_for(lambda: session.attachment.is_attached, "attached again")
            with Writer(session) as writer:
                writer.write_more()
                wait_for(lambda: len(reader.keys) >= ENOUGH, "changes follow")
            assert reader.raised is None


def test_history_compacted_while_a_feed_was_away_is_said(etcd: Etcd) -> None:
    with session_at(etcd, etcd.members[0]) as session, session.follow(PREFIX, erase(session)) as feed:
        assert feed.next(0) is None
        etcd.stop()
        etcd.start()
        with Writer(session) as writer:
            writer.write_more()
        etcd.compact()
        with pytest.raises(Compacted):
            wait_for(lambda: feed.next(1), "something follows")


def test_an_engine_restored_from_an_older_snapshot_is_said(etcd: Etcd, tmp_path: Path) -> None:
    with session_at(etcd, etcd.members[0]) as session:
        session.start()
        erase(session)
        etcd.snapshot(tmp_path / "backup")
        with Writer(session) as writer:
            writer.write_more()
        with Reader(session.follow(PREFIX, session.read(PREFIX).revision)) as reader:
            etcd.restore(tmp_path / "backup")
            wait_for(lambda: reader.raised is not None, "the feed ends")
            assert isinstance(reader.raised, WentBack)
        assert session.read(PREFIX).items == ()
        wait_for(lambda: session.lease, "a lease")
