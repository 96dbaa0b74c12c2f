"""A node's part in its cluster with its threads: over an engine in memory, whose members a test takes away."""

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certstore.cluster.clustering import Clustering
from certstore.cluster.engine import Batch, Committed, Delete, EngineLost, ModifiedAt, Put
from certstore.cluster.keys import KeyRing, NodeKeys
from certstore.cluster.membership import Membership
from certstore.cluster.replica import Replica
from certstore.cluster.sealing import KeyRingSealer
from certstore.cluster.session import Session, SessionFollowing
from certstore.model.certificate.dropped_file import DroppedFile
from certstore.model.cluster.paths import Shelf
from certstore.model.cluster.records import Role
from certstore.model.cluster.standing import ClusterStanding
from certstore.model.settings.models import SiteSettings
from certstore.monitoring.cluster_standing import read_standing
from certstore.store.writer import StoreWriter
from tests.certificates import CertificateAuthority
from tests.certstore.cluster.memory_engine import MemoryEngine
from tests.certstore.cluster.replicas import Nodes
from tests.certstore.stores import acquire
from tests.deadlines import wait_for

SITE, OTHER = "one.test", "two.test"


class Machine:
    """One node as control runs it. `members` are its ways to the engine's members."""

    def __init__(self, cluster: Nodes, name: str, ring: KeyRing, clock: "Clock", *, is_cut: bool = False) -> None:
        self.ring = ring
        self.members = [MemoryEngine(cluster.store, f"member-{number}") for number in (1, 2)]
        self.cut(is_cut=is_cut)
        self.session = Session(self.members, ping_seconds=0.02)
        base = cluster.folder / f"{name}-settings"
        base.mkdir(exist_ok=True)
        self.writer: StoreWriter = acquire(cluster.folder / name, main_host="main.test", base=base)
        sealer = KeyRingSealer(ring)
        replica = Replica(self.session, self.writer, sealer, cluster.paths, ring.node)
        self.clustering = Clustering(
            self.session, self.writer, replica, sealer, cluster.paths, ring.node, clock=clock, written_every=timedelta()
        )
        self.clustering.start()

    def cut(self, *, is_cut: bool) -> None:
        for member in self.members:
            member.faults.is_cut = is_cut

    def install(self, site: str, ca: CertificateAuthority) -> str:
        issued = ca.issue(site)
        files = [DroppedFile("fullchain.pem", issued.fullchain_pem), DroppedFile("privkey.pem", issued.privkey_pem)]
        self.writer.install_files(site, files, source="/drop")
        return issued.fingerprint

    def serves(self, site: str) -> str | None:
        certificate = self.writer.site(site).certificate if site in self.writer.sites() else None
        return certificate.fingerprint if certificate is not None else None

    def standing(self) -> ClusterStanding | None:
        return read_standing(self.writer.layout, datetime.now(UTC))

    def problems(self) -> set[str]:
        found = self.standing()
        return {code for code, _ in found.problems} if found is not None else set()

    def stop(self) -> None:
        self.clustering.stop()
        self.writer.close()


class Clock:
    """Real time, or what a test adds to it."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@pytest.fixture
def cluster(tmp_path: Path) -> Nodes:
    return Nodes(tmp_path, "edge-a", is_running=False)


@pytest.fixture
def machines(cluster: Nodes) -> Iterator[list[Machine]]:
    with ExitStack() as stack:
        machines = []
        for name in ("edge-a", "edge-b"):
            ring = cluster.ring if name == "edge-a" else cluster.ring.for_member(name, Role.EDGE, NodeKeys.draw())
            cluster.write_member(ring)
            machines.append(Machine(cluster, name, ring, Clock()))
            stack.callback(machines[-1].stop)
        yield machines


def test_a_change_is_everywhere_without_being_asked_for(machines: list[Machine], ca: CertificateAuthority) -> None:
    a, b = machines
    a.writer.add_site(SITE, SiteSettings(host=SITE))
    fingerprint = a.install(SITE, ca)
    wait_for(lambda: b.serves(SITE) == fingerprint, "the other node serves it")
    b.writer.remove_site(SITE)
    wait_for(lambda: SITE not in a.writer.sites(), "the removal arrives too")


def test_each_says_how_it_stands(machines: list[Machine], ca: CertificateAuthority) -> None:
    a, _ = machines
    a.writer.add_site(SITE, SiteSettings(host=SITE))
    a.install(SITE, ca)

    def are_in_step() -> bool:
        found = a.standing()
        return found is not None and found.line == "2 nodes, in step" and found.nodes[1].sites == 2

    wait_for(are_in_step, "the first node sees that the second one has it")
    found = a.standing()
    assert found is not None
    assert (found.node, found.is_attached, found.is_joining, found.unpublished) == ("edge-a", True, False, 0)
    assert {(node.name, node.state) for node in found.nodes} == {("edge-a", "in_step"), ("edge-b", "in_step")}
    assert not found.has_problems


def test_without_the_engine_a_node_goes_on_and_says_so(machines: list[Machine], ca: CertificateAuthority) -> None:
    a, b = machines
    a.writer.add_site(SITE, SiteSettings(host=SITE))
    before = a.install(SITE, ca)
    wait_for(lambda: b.serves(SITE) == before, "in step")
    b.cut(is_cut=True)
    fingerprint = b.install(SITE, ca)
    assert b.serves(SITE) == fingerprint

    def is_told() -> bool:
        found = b.standing()
        return found is not None and not found.is_attached and found.unpublished == 1

    wait_for(is_told, "it says that a change waits")
    assert a.serves(SITE) == before
    b.cut(is_cut=False)
    wait_for(lambda: a.serves(SITE) == fingerprint, "the change arrives")


def test_one_member_of_the_engine_is_enough(machines: list[Machine], ca: CertificateAuthority) -> None:
    a, b = machines
    for machine in machines:
        machine.members[0].faults.is_cut = True
    a.writer.add_site(SITE, SiteSettings(host=SITE))
    fingerprint = a.install(SITE, ca)
    wait_for(lambda: b.serves(SITE) == fingerprint, "through the other member")


def test_history_that_is_gone_is_read_anew(cluster: Nodes, machines: list[Machine], ca: CertificateAuthority) -> None:
    a, b = machines
    a.writer.add_site(SITE, SiteSettings(host=SITE))
    wait_for(lambda: SITE in b.writer.sites(), "in step")
    b.cut(is_cut=True)
    fingerprint = a.install(SITE, ca)
    wait_for(lambda: cluster.paths.head(SITE) in cluster.store.items, "published")
    cluster.store.compact()
    b.cut(is_cut=False)
    wait_for(lambda: b.serves(SITE) == fingerprint, "read as a whole")


def test_an_engine_that_went_back_is_filled_again(
    cluster: Nodes, machines: list[Machine], ca: CertificateAuthority
) -> None:
    a, b = machines
    for number in range(12):
        a.writer.add_site(f"s{number}.test", SiteSettings(host=f"s{number}.test"))
    wait_for(lambda: len(b.writer.sites()) == 13, "in step")
    backup = cluster.store.snapshot()
    a.writer.add_site(SITE, SiteSettings(host=SITE))
    wait_for(lambda: SITE in b.writer.sites(), "in step")
    cluster.store.restore(backup)
    wait_for(lambda: cluster.paths.site(SITE) in cluster.store.items, "what it had lost is there again")
    assert SITE in a.writer.sites()
    wait_for(lambda: "engine_went_back" in a.problems() | b.problems(), "and it is told")
    wait_for(lambda: all(not each.clustering.standing().unpublished for each in machines), "nothing waits")
    fingerprint = b.install(SITE, ca)
    wait_for(lambda: a.serves(SITE) == fingerprint, "and all goes on")


def test_an_emptied_engine_is_told_and_left_alone(cluster: Nodes, machines: list[Machine]) -> None:
    a, _ = machines
    wait_for(lambda: cluster.paths.site("main") in cluster.store.items, "published")
    cluster.store.empty()
    wait_for(lambda: "engine_foreign" in a.problems(), "the node says that this is not its engine")
    assert not any(key.startswith(f"{cluster.paths.prefix}d/") for key in cluster.store.items)


def test_a_full_engine_is_told(cluster: Nodes, machines: list[Machine], ca: CertificateAuthority) -> None:
    a, b = machines
    wait_for(lambda: (found := a.standing()) is not None and len(found.nodes) == 2, "attached")
    cluster.store.is_full = True
    a.writer.add_site(SITE, SiteSettings(host=SITE))
    wait_for(lambda: "engine_full" in a.problems(), "the node says that the engine is full")
    fingerprint = a.install(SITE, ca)
    cluster.store.is_full = False
    wait_for(lambda: b.serves(SITE) == fingerprint, "published when there is room")
    wait_for(lambda: "engine_full" not in a.problems(), "solved")


@pytest.mark.slow
def test_a_person_has_an_emptied_engine_filled_again(
    cluster: Nodes, machines: list[Machine], ca: CertificateAuthority
) -> None:
    a, b = machines
    a.writer.add_site(SITE, SiteSettings(host=SITE))
    fingerprint = a.install(SITE, ca)
    wait_for(lambda: b.serves(SITE) == fingerprint, "in step")
    for machine, ring in ((a, cluster.ring), (b, machines[1].ring)):
        machine.clustering.put_back = cluster.put_back_of(ring)
    cluster.store.empty()
    wait_for(lambda: "engine_foreign" in a.problems(), "the node says that this is not its engine")
    a.writer.layout.cluster_rebuild.touch()
    wait_for(lambda: cluster.paths.head(SITE) in cluster.store.items, "the engine has it again")
    wait_for(lambda: not a.writer.layout.cluster_rebuild.exists(), "done once")
    wait_for(lambda: (found := b.standing()) is not None and found.line == "2 nodes, in step", "all are members again")
    other = b.install(SITE, ca)
    wait_for(lambda: a.serves(SITE) == other, "and all goes on")


def test_a_node_that_was_taken_out_goes_on_alone(
    cluster: Nodes, machines: list[Machine], ca: CertificateAuthority
) -> None:
    a, b = machines
    a.writer.add_site(SITE, SiteSettings(host=SITE))
    before = a.install(SITE, ca)
    wait_for(lambda: b.serves(SITE) == before, "in step")
    Membership(MemoryEngine(cluster.store), cluster.ring).leave("edge-b", datetime.now(UTC))
    wait_for(lambda: "engine_foreign" in b.problems(), "it says that it was taken out")
    b.install(SITE, ca)
    after = a.install(SITE, ca)
    wait_for(lambda: "edge-b" not in (a.standing() or a.clustering.standing()).line, "the others go on")
    assert a.serves(SITE) == after, "nothing that it does counts"
    assert b.serves(SITE) != after


@pytest.mark.parametrize("shows", ["the record from before", "nothing"])
def test_whoever_can_write_to_the_engine_does_not_bring_a_node_back(
    cluster: Nodes, machines: list[Machine], shows: str
) -> None:
    a, b = machines
    path = cluster.paths.member("edge-b")
    a.clustering.put_back = cluster.put_back_of(a.ring, a.clustering.known_members)
    wait_for(lambda: "edge-b" in a.clustering.known_members, "in step")
    before = cluster.store.items[path].value
    engine = MemoryEngine(cluster.store)
    Membership(engine, cluster.ring).leave("edge-b", datetime.now(UTC))
    removal = cluster.store.items[path]
    wait_for(lambda: "engine_foreign" in b.problems(), "it says that it was taken out")
    wait_for(lambda: a.clustering.known_members["edge-b"].member.has_left, "and the other knows")
    replayed = Put(path, before) if shows != "nothing" else Delete(path)
    assert isinstance(engine.commit([ModifiedAt(path, removal.modified)], [replayed]), Committed)

    def is_out_again() -> bool:
        view = Membership(engine, cluster.ring).view()
        return path in cluster.store.items and view.nodes == ["edge-a"]

    wait_for(is_out_again, "the removal is written again")
    wait_for(lambda: "engine_went_back" in a.problems(), "and it is told")
    wait_for(lambda: "cluster_record_refused" not in a.problems(), "solved")
    assert "edge-b" not in (a.standing() or a.clustering.standing()).line
    assert "engine_foreign" in b.problems()


def test_a_node_that_joins_says_so_until_it_has_everything(cluster: Nodes, ca: CertificateAuthority) -> None:
    """A balancer sends it nobody until then."""
    first = Machine(cluster, "edge-a", cluster.ring, Clock())
    try:
        cluster.write_member(cluster.ring)
        first.writer.add_site(SITE, SiteSettings(host=SITE))
        fingerprint = first.install(SITE, ca)
        wait_for(lambda: cluster.paths.head(SITE) in cluster.store.items, "published")
        ring = cluster.ring.for_member("edge-b", Role.EDGE, NodeKeys.draw())
        cluster.write_member(ring)
        joiner = Machine(cluster, "edge-b", ring, Clock(), is_cut=True)
        try:
            assert joiner.writer.layout.joining.exists()
            wait_for(lambda: (found := joiner.standing()) is not None and found.is_joining, "it says that it joins")
            joiner.cut(is_cut=False)
            wait_for(lambda: not joiner.writer.layout.joining.exists(), "it has everything")
            assert joiner.serves(SITE) == fingerprint
        finally:
            joiner.stop()
    finally:
        first.stop()


def test_a_node_that_served_before_founds_a_cluster_without_a_break(
    cluster: Nodes, ca: CertificateAuthority, tmp_path: Path
) -> None:
    with acquire(cluster.folder / "edge-a", main_host="main.test") as writer:
        writer.add_site(SITE, SiteSettings(host=SITE))
        issued = ca.issue(SITE)
        files = [DroppedFile("a.pem", issued.fullchain_pem + issued.privkey_pem)]
        writer.install_files(SITE, files, source="/drop")
    machine = Machine(cluster, "edge-a", cluster.ring, Clock(), is_cut=True)
    try:
        assert not machine.writer.layout.joining.exists()
    finally:
        machine.stop()


def test_a_file_that_one_node_lacks_is_told_to_all(machines: list[Machine], tmp_path: Path) -> None:
    """Sites' settings are shared, and the files that they name are not."""
    a, b = machines
    ca_file = a.writer.base / "backend-ca.pem"
    ca_file.write_text("its content is the TLS library's business")
    upstream = {"url": "https://10.0.0.1", "ca_file": ca_file.name}
    a.writer.add_site(SITE, SiteSettings.model_validate({"host": SITE, "upstream": upstream}))

    def told() -> dict[str, str]:
        return {node.name: words for node in a.clustering.standing().nodes for _, words in node.problems}

    wait_for(lambda: told() == {"edge-b": f"{SITE}: upstream: ca_file: there is no {ca_file.name}"}, "which and where")
    (b.writer.base / ca_file.name).touch()
    wait_for(lambda: not told(), "solved")


@pytest.mark.slow
def test_a_copy_of_a_machine_does_not_write(cluster: Nodes, machines: list[Machine]) -> None:
    """It runs under the name of a node that is alive."""
    clock = Clock()
    wait_for(lambda: cluster.paths.live("edge-a") in cluster.store.items, "the original is there")
    copy = Machine(cluster, "copy", cluster.ring, clock)
    try:
        wait_for(lambda: (found := copy.standing()) is not None and bool(found.nodes), "the copy is attached")
        clock.ahead = timedelta(minutes=1)
        wait_for(lambda: "cluster_cloned" in {code for code, _ in copy.clustering.standing().problems}, "it says so")
        copy.writer.add_site(OTHER, SiteSettings(host=OTHER))
        revision = cluster.store.revision
        wait_for(lambda: cluster.store.revision > revision, "the original says that it lives")
        assert cluster.paths.site(OTHER) not in cluster.store.items
    finally:
        copy.stop()


def test_a_fault_of_this_program_does_not_end_it(
    machines: list[Machine], ca: CertificateAuthority, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    a, b = machines
    a.writer.add_site(SITE, SiteSettings(host=SITE))
    wait_for(lambda: SITE in b.writer.sites(), "in step")
    happened, text = threading.Event(), "what could quote a record"

    def fail(*_: object) -> None:
        happened.set()
        raise KeyError(text)

    with monkeypatch.context() as patched:
        patched.setattr("certstore.cluster.clustering._PAUSE", 0.01)
        patched.setattr(b.clustering._replica, "take", fail)
        a.writer.set_site(SITE, {"inspect": True})
        wait_for(happened.is_set, "the fault")
    wait_for(lambda: b.writer.site(SITE).inspect, "the next attempt")
    assert "KeyError" in caplog.text
    assert text not in caplog.text


def test_a_fault_of_the_thread_that_waits_for_the_feed_does_not_leave_the_node_deaf(
    machines: list[Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = machines
    a.writer.add_site(SITE, SiteSettings(host=SITE))
    wait_for(lambda: SITE in b.writer.sites(), "in step")
    happened = threading.Event()

    def fail(*_: object) -> None:
        happened.set()
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("certstore.cluster.clustering._PAUSE", 0.01)
    with monkeypatch.context() as patched:
        patched.setattr(SessionFollowing, "next", fail)
        wait_for(happened.is_set, "the fault")
    a.writer.set_site(SITE, {"inspect": True})
    wait_for(lambda: b.writer.site(SITE).inspect, "it follows again")


def test_a_fault_in_what_is_said_does_not_end_it(machines: list[Machine], monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = machines
    happened = threading.Event()

    def fail(*_: object) -> None:
        happened.set()
        raise TypeError("a node said what can't be")

    monkeypatch.setattr("certstore.cluster.clustering._PAUSE", 0.01)
    with monkeypatch.context() as patched:
        patched.setattr(b.clustering, "standing", fail)
        wait_for(happened.is_set, "the fault")
    a.writer.add_site(SITE, SiteSettings(host=SITE))
    wait_for(lambda: SITE in b.writer.sites(), "it follows again")


def test_a_feed_that_is_faster_than_the_store_waits(cluster: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    """What arrives takes no more memory than a few batches."""
    monkeypatch.setattr("certstore.cluster.clustering._MOST_ARRIVED", 2)
    a = Machine(cluster, "edge-a", cluster.ring, Clock())
    cluster.write_member(cluster.ring)
    try:
        wait_for(lambda: a.clustering.is_current, "it follows")
        busy, go_on = threading.Event(), threading.Event()
        own, most = a.clustering._replica.take, list[int]()

        def take(batches: list[Batch]) -> None:
            busy.set()
            go_on.wait()
            most.append(len(batches))
            own(batches)

        monkeypatch.setattr(a.clustering._replica, "take", take)
        outside = MemoryEngine(cluster.store)
        for number in range(20):
            key = cluster.paths.of(Shelf.TOKEN, f"{number:043}")
            outside.commit([ModifiedAt(key, 0)], [Put(key, b"rubbish")])
            if number == 0:
                wait_for(busy.is_set, "it is busy")
        wait_for(lambda: len(a.clustering._arrived) == 2, "the feed has filled what there is room for")
        go_on.set()
        wait_for(lambda: a.clustering._applied >= cluster.store.items[key].modified, "everything arrives")
        assert max(most) <= 3
    finally:
        go_on.set()
        a.stop()


def test_what_one_node_cannot_serve_is_told_to_all(
    machines: list[Machine], ca: CertificateAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = machines
    a.writer.add_site(SITE, SiteSettings(host=SITE))
    before = a.install(SITE, ca)
    wait_for(lambda: b.serves(SITE) == before, "in step")
    monkeypatch.setattr(b.writer._state, "trial", lambda _: "its key is too unusual")
    monkeypatch.setattr("certstore.store.adoption.library_in_force", lambda: "another library")
    fingerprint = a.install(SITE, ca)

    def is_told() -> bool:
        nodes = a.clustering.standing().nodes
        return any(node.name == "edge-b" and "too unusual" in words for node in nodes for _, words in node.problems)

    wait_for(is_told, "the other node says why")
    assert (a.serves(SITE), b.serves(SITE)) == (fingerprint, before)


def test_a_long_comparison_ends_with_its_node(cluster: Nodes) -> None:
    """Ten thousand sites take a while, and a stop does not wait for them."""
    machine = Machine(cluster, "edge-a", cluster.ring, Clock())
    machine.clustering._tell(500, 10_000)
    machine.stop()
    with pytest.raises(EngineLost, match="stopping"):
        machine.clustering._tell(1000, 10_000)


def test_at_its_end_nobody_is_told_old_facts(cluster: Nodes, tmp_path: Path) -> None:
    machine = Machine(cluster, "edge-a", cluster.ring, Clock())
    cluster.write_member(cluster.ring)
    wait_for(lambda: machine.standing() is not None, "it says how it stands")
    text = machine.writer.layout.cluster_standing.read_text()
    assert json.loads(text)["node"] == "edge-a"
    assert machine.writer.layout.cluster_standing.stat().st_mode & 0o777 == 0o600
    machine.stop()
    assert machine.standing() is None
    assert cluster.paths.live("edge-a") not in cluster.store.items, "its lease is given back"
