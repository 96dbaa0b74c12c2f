from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest

from certstore.cluster.engine import Compare, Delete, EngineLost, ModifiedAt, Op, Outcome, Put
from certstore.cluster.invitation import EngineAccess, Invitation, InvitationUnusable
from certstore.cluster.keys import ClusterKey, KeyRing, NodeKeys
from certstore.cluster.known_members import KnownMember
from certstore.cluster.membership import Membership, MembershipRefused, Place, accept, complete, is_member
from certstore.cluster.sealing import KeyRingSealer
from certstore.model.cluster.paths import ClusterPaths, Shelf
from certstore.model.cluster.records import Live, NodeListener, Role
from certstore.model.cluster.wire import RecordClass, Refusal, Refused
from tests.certstore.cluster.memory_engine import MemoryEngine, MemoryStore

NOW = datetime(2026, 11, 30, 20, tzinfo=UTC)
ACCESS = EngineAccess(("https://10.0.0.11:2379",), "ca", "client")
HERE = Place(("192.0.2.1",), (NodeListener("https", "::", 443),))
THERE = Place(("192.0.2.2",), ())


class Cluster:
    """One store and its first node."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.engine = MemoryEngine(self.store)
        self.ring = KeyRing.draw("edge-a")
        self.paths = ClusterPaths(self.ring.cluster)
        self.first = Membership(self.engine, self.ring)
        self.first.found(HERE, NOW)

    def invite(self, node: str = "edge-b", role: Role = Role.EDGE, *, is_again: bool = False) -> Invitation:
        return self.first.invite(node, role, ACCESS, NOW, is_again=is_again)

    def join(self, invitation: Invitation) -> KeyRing:
        bundle = accept(self.engine, invitation)
        complete(self.engine, invitation, bundle, THERE)
        return bundle.ring

    def held(self) -> set[str]:
        return {item.key.removeprefix(self.paths.prefix) for item in self.engine.read(self.paths.prefix).items}

    def says(self, ring: KeyRing, live: Live, lease: int = 0) -> None:
        path = self.paths.live(ring.node)
        there = self.engine.get([path]).by_key().get(path)
        value = KeyRingSealer(ring).seal_live(path, 1, live.encode())
        self.engine.commit([ModifiedAt(path, there.modified if there else 0)], [Put(path, value, lease)])


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@contextmanager
def refused(words: str) -> Iterator[None]:
    with pytest.raises(MembershipRefused, match=words):
        yield


LIVE = Live("0f" * 8, 5, "same", 3, "0.2", NOW)


def test_a_cluster_begins_with_its_first_node(cluster: Cluster) -> None:
    view = cluster.first.view()
    assert cluster.held() == {"meta", "n/member/edge-a"}
    assert view.nodes == ["edge-a"]
    assert view.meta is not None
    assert (view.meta.cluster, view.meta.key_ids) == (cluster.ring.cluster, (cluster.ring.current,))
    assert (view.members["edge-a"].addresses, view.members["edge-a"].listeners) == (HERE.addresses, HERE.listeners)
    assert is_member(cluster.engine, cluster.ring)


def test_a_cluster_begins_once(cluster: Cluster) -> None:
    with refused("already holds"):
        cluster.first.found(HERE, NOW)


def test_several_clusters_share_an_engine(cluster: Cluster) -> None:
    other = KeyRing.draw("edge-a")
    Membership(cluster.engine, other).found(HERE, NOW)
    assert Membership(cluster.engine, other).view().nodes == ["edge-a"]
    assert cluster.first.view().nodes == ["edge-a"]
    assert Membership(cluster.engine, other).erase() == 2
    assert cluster.held() == {"meta", "n/member/edge-a"}


@pytest.mark.parametrize("role", Role)
def test_an_invited_node_becomes_a_member(cluster: Cluster, role: Role) -> None:
    ring = cluster.join(cluster.invite(role=role))
    assert (ring.node, ring.role, ring.cluster) == ("edge-b", role, cluster.ring.cluster)
    view = Membership(cluster.engine, ring).view()
    assert view.nodes == ["edge-a", "edge-b"]
    assert view.members["edge-b"].signing_key == ring.own.sign_public
    assert view.members["edge-b"].addresses == (THERE.addresses if role is Role.EDGE else ()), "a front can't sign them"
    assert is_member(cluster.engine, ring)


def test_the_addresses_of_a_front_are_those_that_the_inviter_gave(cluster: Cluster) -> None:
    cluster.join(cluster.first.invite("edge-f", Role.FRONT, ACCESS, NOW, place=Place(("198.51.100.9",))))
    assert cluster.first.view().members["edge-f"].addresses == ("198.51.100.9",)


def test_an_invitation_works_once(cluster: Cluster) -> None:
    invitation = cluster.invite()
    cluster.join(invitation)
    assert not [key for key in cluster.held() if key.startswith("n/invite")]
    with refused("has been used, or its hour is over"):
        accept(cluster.engine, invitation)


@pytest.mark.parametrize("role", Role)
def test_of_two_machines_with_one_invitation_one_joins(cluster: Cluster, role: Role) -> None:
    """Both have read it before either became a member."""
    invitation = cluster.invite(role=role)
    first, second = accept(cluster.engine, invitation), accept(cluster.engine, invitation)
    complete(cluster.engine, invitation, first, THERE)
    with refused("another machine has become edge-b"):
        complete(cluster.engine, invitation, second, Place(("203.0.113.66",)))
    assert cluster.first.view().members["edge-b"].addresses != ("203.0.113.66",)


def test_an_invitation_ends_with_its_lease(cluster: Cluster) -> None:
    invitation = cluster.invite()
    [lease] = [item.lease for item in cluster.engine.read(invitation.path).items]
    assert lease
    cluster.engine.revoke(lease)
    with refused(r"until 2026-11-30 21:00 UTC"):
        accept(cluster.engine, invitation)
    assert cluster.first.view().nodes == ["edge-a"]


def test_an_invitation_whose_hour_ends_while_it_is_taken_up_makes_no_member(cluster: Cluster) -> None:
    invitation = cluster.invite()
    bundle = accept(cluster.engine, invitation)
    [item] = cluster.engine.read(invitation.path).items
    cluster.engine.revoke(item.lease)
    with refused("meanwhile"):
        complete(cluster.engine, invitation, bundle, THERE)
    assert cluster.first.view().nodes == ["edge-a"]


def test_the_later_of_two_invitations_for_one_name_makes_no_second_node(cluster: Cluster) -> None:
    one, other = cluster.invite(), cluster.invite()
    cluster.join(one)
    bundle = accept(cluster.engine, other)
    with refused("another machine"):
        complete(cluster.engine, other, bundle, THERE)


@pytest.mark.parametrize("fault", ["lose_replies", "hold_requests"])
@pytest.mark.parametrize("role", Role)
def test_a_join_whose_answer_is_lost_happens_once(cluster: Cluster, fault: str, role: Role) -> None:
    invitation = cluster.invite(role=role)
    bundle = accept(cluster.engine, invitation)
    setattr(cluster.engine.faults, fault, 1)
    complete(cluster.engine, invitation, bundle, THERE)
    cluster.store.deliver_late()
    assert is_member(cluster.engine, bundle.ring)
    assert Membership(cluster.engine, bundle.ring).view().nodes == ["edge-a", "edge-b"]


def test_an_engine_that_never_answers_is_said_so_and_asked_a_few_times(cluster: Cluster) -> None:
    invitation = cluster.invite()
    bundle = accept(cluster.engine, invitation)
    cluster.engine.faults.hold_requests = 100
    with pytest.raises(EngineLost, match="does not answer"):
        complete(cluster.engine, invitation, bundle, THERE)
    assert cluster.engine.faults.hold_requests == 97
    cluster.store.deliver_late()
    assert is_member(cluster.engine, bundle.ring), "it arrived after all, and the next join sees so"


def test_nothing_of_an_engine_that_is_away_is_taken_for_an_answer(cluster: Cluster) -> None:
    invitation = cluster.invite()
    cluster.engine.faults.is_cut = True
    for ask in (cluster.first.view, lambda: accept(cluster.engine, invitation), cluster.invite):
        with pytest.raises(EngineLost):
            ask()


# Names


def test_a_name_belongs_to_one_node(cluster: Cluster) -> None:
    cluster.join(cluster.invite())
    with refused("edge-b is a member already"):
        cluster.invite()
    with refused("edge-a is a member already"):
        cluster.invite("edge-a")


def test_a_machine_that_was_set_up_anew_takes_its_name_again(cluster: Cluster) -> None:
    before = cluster.join(cluster.invite())
    after = cluster.join(cluster.invite(is_again=True))
    assert after.own != before.own
    assert is_member(cluster.engine, after)
    assert not is_member(cluster.engine, before), "the old machine's keys are not those of the member"


def test_a_running_node_is_not_replaced(cluster: Cluster) -> None:
    ring = cluster.join(cluster.invite())
    cluster.says(ring, LIVE)
    with refused("edge-b is running"):
        cluster.invite(is_again=True)


def test_a_node_that_left_may_come_back(cluster: Cluster) -> None:
    cluster.join(cluster.invite())
    cluster.first.leave("edge-b", NOW)
    assert cluster.first.view().nodes == ["edge-a"]
    assert cluster.first.view().members["edge-b"].has_left
    ring = cluster.join(cluster.invite())
    assert cluster.first.view().nodes == ["edge-a", "edge-b"]
    assert is_member(cluster.engine, ring)


def test_a_node_that_left_is_no_member(cluster: Cluster) -> None:
    ring = cluster.join(cluster.invite())
    Membership(cluster.engine, ring).leave("edge-b", NOW)
    assert not is_member(cluster.engine, ring)
    Membership(cluster.engine, cluster.ring).leave("edge-b", NOW)  # again is no error


def test_the_record_of_a_member_that_left_is_newer_than_the_old_one(cluster: Cluster) -> None:
    """So nobody who kept the old record can bring the member back to a node that has seen this one."""
    ring, path = cluster.join(cluster.invite()), cluster.paths.member("edge-b")
    sealer = KeyRingSealer(ring)
    [old] = cluster.engine.get([path]).items
    cluster.first.leave("edge-b", NOW)
    [new] = cluster.engine.get([path]).items
    assert sealer.open(path, new.value).generation == sealer.open(path, old.value).generation + 1


def test_only_members_can_be_taken_out(cluster: Cluster) -> None:
    with refused("no member edge-x"):
        cluster.first.leave("edge-x", NOW)


def test_a_front_changes_no_members(cluster: Cluster) -> None:
    front = Membership(cluster.engine, cluster.join(cluster.invite("edge-f", Role.FRONT)))
    with refused("can't invite"):
        front.invite("edge-x", Role.EDGE, ACCESS, NOW)
    with refused("can't change members"):
        front.leave("edge-f", NOW)
    assert front.view().nodes == ["edge-a", "edge-f"], "it sees them"


def test_the_last_node_empties_the_engine(cluster: Cluster) -> None:
    for number in range(250):
        path = cluster.paths.of(Shelf.SITE, f"s{number}.test")
        cluster.engine.commit([ModifiedAt(path, 0)], [Put(path, b"x")])
    assert cluster.first.erase() == 252
    assert cluster.held() == set()
    assert cluster.first.view().nodes == []


def test_a_service_that_still_writes_is_told_from_an_empty_engine(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, live = cluster.engine.commit, cluster.paths.live("edge-a")

    def commit_before_the_service_writes(compares: Sequence[Compare], ops: Sequence[Op]) -> Outcome:
        outcome = commit(compares, ops)
        cluster.store.apply([ModifiedAt(live, 0)], [Put(live, b"x")])
        return outcome

    monkeypatch.setattr(cluster.engine, "commit", commit_before_the_service_writes)
    with refused("still writes"):
        cluster.first.erase()


# Engines that are not what they were


def test_an_emptied_or_another_engine_is_named(cluster: Cluster) -> None:
    invitation = cluster.invite()
    cluster.store.empty()
    for ask in (lambda: accept(cluster.engine, invitation), cluster.invite):
        with refused(f"does not hold the cluster {cluster.ring.cluster}"):
            ask()
    assert cluster.first.view().meta is None


def with_last_bit_flipped(value: bytes) -> bytes:
    return value[:-1] + bytes([value[-1] ^ 1])


def test_a_bundle_that_somebody_else_put_there_is_refused(cluster: Cluster) -> None:
    invitation = cluster.invite()
    [item] = cluster.engine.read(invitation.path).items
    for value in (b"", b"CI1", with_last_bit_flipped(item.value), b"x" * 500):
        [item] = cluster.engine.read(invitation.path).items
        cluster.engine.commit([ModifiedAt(invitation.path, item.modified)], [Put(invitation.path, value)])
        with pytest.raises(InvitationUnusable):
            accept(cluster.engine, invitation)


def test_members_that_no_full_node_signed_do_not_count(cluster: Cluster) -> None:
    forger = KeyRing.draw("edge-x")
    forged = KeyRingSealer(replace(forger, cluster=cluster.ring.cluster))
    path = cluster.paths.member("edge-x")
    value = forged.seal(path, 1, RecordClass.SITES, b"{}")
    cluster.engine.commit([ModifiedAt(path, 0)], [Put(path, value)])
    view = cluster.first.view()
    assert view.nodes == ["edge-a"]
    assert view.refused[path].why is Refusal.UNKNOWN_KEY


def test_a_member_record_under_another_name_does_not_count(cluster: Cluster) -> None:
    cluster.join(cluster.invite())
    [item] = cluster.engine.get([cluster.paths.member("edge-b")]).items
    elsewhere = cluster.paths.member("edge-x")
    cluster.engine.commit([ModifiedAt(elsewhere, 0)], [Put(elsewhere, item.value)])
    view = cluster.first.view()
    assert view.nodes == ["edge-a", "edge-b"]
    assert view.refused[elsewhere].why is Refusal.BAD_SIGNATURE


def test_a_node_with_a_retired_key_is_told_which(cluster: Cluster) -> None:
    fresh = ClusterKey.draw()
    later = replace(cluster.ring, current=fresh.key_id, keys={fresh.key_id: fresh}, retired=(cluster.ring.current,))
    with pytest.raises(Refused) as error:
        is_member(cluster.engine, later)
    assert (error.value.why, error.value.key_id) == (Refusal.RETIRED_KEY, cluster.ring.current)
    assert Membership(cluster.engine, later).view().refused[cluster.paths.meta].why is Refusal.RETIRED_KEY


# What nodes say


def test_what_members_say_is_seen_and_what_others_say_is_not(cluster: Cluster) -> None:
    ring = cluster.join(cluster.invite())
    cluster.says(cluster.ring, LIVE)
    cluster.says(ring, replace(LIVE, sites=4))
    stranger = replace(ring, node="edge-x", own=NodeKeys.draw())
    cluster.says(stranger, LIVE)
    imposter = replace(ring, node="edge-a", own=NodeKeys.draw())
    view = cluster.first.view()
    assert {name: live.sites for name, live in view.lives.items()} == {"edge-a": 3, "edge-b": 4}
    cluster.says(imposter, LIVE)
    view = cluster.first.view()
    assert "edge-a" not in view.lives
    assert view.refused[cluster.paths.live("edge-a")].why is Refusal.BAD_SIGNATURE


def test_the_caretaker_is_whom_the_engine_names(cluster: Cluster) -> None:
    path = cluster.paths.caretaker
    assert cluster.first.view().caretaker is None
    cluster.engine.commit([ModifiedAt(path, 0)], [Put(path, b"edge-a")])
    assert cluster.first.view().caretaker == "edge-a"
    [item] = cluster.engine.get([path]).items
    cluster.engine.commit([ModifiedAt(path, item.modified)], [Put(path, b"\xff\n[31m")])
    assert cluster.first.view().caretaker is None


def test_the_last_change_of_each_site_is_seen(cluster: Cluster) -> None:
    path = cluster.paths.head("a.test")
    cluster.engine.commit([ModifiedAt(path, 0)], [Put(path, b"x")])
    assert cluster.first.view().changed == {"a.test": cluster.store.revision}


def test_the_lifetime_of_an_invitation_is_the_lease_of_its_bundle(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[timedelta] = []
    grant = cluster.engine.grant

    def note(ttl: timedelta) -> int:
        asked.append(ttl)
        return grant(ttl)

    monkeypatch.setattr(cluster.engine, "grant", note)
    cluster.invite()
    assert asked == [timedelta(hours=1)]


# What a node says about itself again


def test_a_lost_member_record_is_put_back_by_its_node(cluster: Cluster) -> None:
    ring, path = cluster.join(cluster.invite()), cluster.paths.member("edge-b")
    [item] = cluster.engine.get([path]).items
    cluster.engine.commit([ModifiedAt(path, item.modified)], [Delete(path)])
    assert cluster.first.view().nodes == ["edge-a"]
    Membership(cluster.engine, ring).put_back(THERE, NOW)
    assert cluster.first.view().nodes == ["edge-a", "edge-b"]
    assert is_member(cluster.engine, ring)


def test_a_member_record_that_is_not_authentic_is_written_again(cluster: Cluster) -> None:
    ring, path = cluster.join(cluster.invite()), cluster.paths.member("edge-b")
    [item] = cluster.engine.get([path]).items
    cluster.engine.commit([ModifiedAt(path, item.modified)], [Put(path, with_last_bit_flipped(item.value))])
    Membership(cluster.engine, ring).put_back(THERE, NOW)
    assert is_member(cluster.engine, ring)


def test_a_node_says_where_it_is_reached_once_that_changes(cluster: Cluster) -> None:
    revision, before = cluster.store.revision, cluster.first.view().members["edge-a"]
    cluster.first.put_back(HERE, NOW + timedelta(days=1))
    assert cluster.store.revision == revision, "nothing has changed"
    cluster.first.put_back(THERE, NOW + timedelta(days=1))
    assert cluster.first.view().members["edge-a"] == replace(before, addresses=THERE.addresses, listeners=())


def test_a_node_that_was_taken_out_or_replaced_does_not_come_back_by_itself(cluster: Cluster) -> None:
    before = cluster.join(cluster.invite())
    cluster.first.leave("edge-b", NOW)
    Membership(cluster.engine, before).put_back(THERE, NOW)
    assert cluster.first.view().nodes == ["edge-a"]
    after = cluster.join(cluster.invite())
    Membership(cluster.engine, before).put_back(HERE, NOW)
    assert is_member(cluster.engine, after)


@dataclass(frozen=True, slots=True)
class Seen:
    """A cluster of three whose node edge-b was taken out; edge-a has seen that, and the engine shows no trace of it."""

    cluster: Cluster
    known: dict[str, KnownMember]

    @property
    def path(self) -> str:
        return self.cluster.paths.member("edge-b")

    def show(self, value: bytes | None) -> None:
        [item] = self.cluster.engine.get([self.path]).items
        op = Put(self.path, value) if value is not None else Delete(self.path)
        self.cluster.engine.commit([ModifiedAt(self.path, item.modified)], [op])

    @property
    def first(self) -> Membership:
        return Membership(self.cluster.engine, self.cluster.ring, self.known)


@pytest.fixture(params=["the record from before", "nothing", "a forged one"])
def seen(cluster: Cluster, request: pytest.FixtureRequest) -> Seen:
    cluster.join(cluster.invite())
    cluster.join(cluster.invite("edge-c"))
    before = cluster.engine.get([cluster.paths.member("edge-b")]).items[0].value
    cluster.first.leave("edge-b", NOW)
    left = cluster.first.view().members["edge-b"]
    seen = Seen(cluster, {"edge-b": KnownMember(2, left)})
    shown = {"the record from before": before, "nothing": None, "a forged one": with_last_bit_flipped(before)}
    seen.show(shown[request.param])
    return seen


def test_what_the_engine_lost_of_others_is_put_back(seen: Seen) -> None:
    seen.first.put_back(HERE, NOW)
    item = seen.cluster.engine.get([seen.path]).items[0]
    assert KeyRingSealer(seen.cluster.ring).open(seen.path, item.value).generation == 2
    assert seen.cluster.first.view().members["edge-b"].has_left
    revision = seen.cluster.store.revision
    seen.first.put_back(HERE, NOW)
    assert seen.cluster.store.revision == revision, "once"


def test_one_who_was_taken_out_is_seen_as_out_whatever_the_engine_shows(seen: Seen) -> None:
    assert seen.first.view().nodes == ["edge-a", "edge-c"]


def test_who_was_invited_again_counts_for_those_who_saw_the_removal(seen: Seen) -> None:
    seen.cluster.join(seen.first.invite("edge-b", Role.EDGE, ACCESS, NOW))
    assert seen.first.view().nodes == ["edge-a", "edge-b", "edge-c"]


def test_taking_out_twice_writes_what_was_lost(seen: Seen) -> None:
    seen.first.leave("edge-b", NOW)
    assert seen.cluster.first.view().members["edge-b"].has_left


def test_a_record_that_another_node_can_read_is_not_written_over(seen: Seen) -> None:
    """A node of a later release, or one that has a newer key, wrote it."""
    fresh, ring = ClusterKey.draw(), seen.cluster.ring
    newer = replace(ring, current=fresh.key_id, keys={**ring.keys, fresh.key_id: fresh})
    member = replace(seen.known["edge-b"].member, has_left=False)
    value = KeyRingSealer(newer).seal(seen.path, 3, RecordClass.SITES, member.encode())
    there = seen.cluster.engine.get([seen.path]).by_key().get(seen.path)
    seen.cluster.engine.commit([ModifiedAt(seen.path, there.modified if there else 0)], [Put(seen.path, value)])
    seen.first.put_back(HERE, NOW)
    assert seen.cluster.engine.get([seen.path]).items[0].value == value
    with pytest.raises(Refused):
        seen.first.leave("edge-b", NOW)


def test_a_front_writes_nothing_about_itself(cluster: Cluster) -> None:
    front = Membership(cluster.engine, cluster.join(cluster.invite("edge-f", Role.FRONT)))
    revision = cluster.store.revision
    front.put_back(HERE, NOW, has_meta=False)
    assert cluster.store.revision == revision


def test_an_emptied_engine_is_founded_again_with_the_same_keys(cluster: Cluster) -> None:
    ring = cluster.join(cluster.invite())
    cluster.store.empty()
    cluster.first.put_back(HERE, NOW)
    assert cluster.first.view().meta is None, "only where a person wants so"
    cluster.first.put_back(HERE, NOW, has_meta=False, exposed_before=NOW)
    Membership(cluster.engine, ring).put_back(THERE, NOW)
    view = Membership(cluster.engine, ring).view()
    assert view.nodes == ["edge-a", "edge-b"]
    assert view.meta is not None
    assert view.meta.cluster == cluster.ring.cluster
    assert view.meta.exposed_before == NOW, "keys that a stolen node had are still to be replaced"
