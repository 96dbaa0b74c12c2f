"""Stores that share an engine end up equal, whatever happened to the network, the engine and the nodes meanwhile."""

import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from certstore.cluster.engine import ModifiedAt, Put
from certstore.cluster.first_sync import ForeignEngine
from certstore.store.errors import InvalidSite, NotWritable, UnknownSite, UnknownVersion
from certstore.store.trial import Trial
from tests.certificates import CertificateAuthority, Issued
from tests.certstore.cluster.memory_engine import MemoryEngine
from tests.certstore.cluster.replicas import Nodes

SITES = ("one.test", "two.test", "three.test")
SHARED = "shared.test"
NODES = ("edge-a", "edge-b", "edge-c")
EXAMPLES = int(os.environ.get("CERTEDGE_CLUSTER_EXAMPLES", "12"))
CA = CertificateAuthority()
CERTIFICATES: dict[str, list[Issued]] = {}


def certificates(site: str) -> list[Issued]:
    """Made once: making keys takes longer than all else."""
    if site not in CERTIFICATES:
        CERTIFICATES[site] = [CA.issue(site) for _ in range(3)]
    return CERTIFICATES[site]


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    with Nodes(tmp_path, *NODES).closing() as nodes:
        nodes.settle()
        yield nodes


def assert_equal(nodes: Nodes) -> None:
    first, *others = nodes.values()
    for other in others:
        assert other.served() == first.served(), f"{other.name} differs from {first.name}"
    for node in nodes.values():
        assert node.replica.unpublished() == []


def test_a_drop_on_one_node_is_served_by_all(nodes: Nodes) -> None:
    nodes["edge-b"].add(SITES[0])
    nodes["edge-b"].install(SITES[0], certificates(SITES[0])[0])
    nodes.settle()
    assert_equal(nodes)
    assert nodes["edge-a"].served()[SITES[0]][0] is not None


def test_what_a_paused_node_seals_with_a_retired_key_is_not_published(nodes: Nodes) -> None:
    """Nobody could read it, and the node itself would take it for published."""
    node, meta = nodes["edge-b"], nodes.paths.meta
    seen = nodes.store.items[meta]
    node.replica.publish_only_while(lambda: [ModifiedAt(meta, seen.modified)])
    MemoryEngine(nodes.store).commit([ModifiedAt(meta, seen.modified)], [Put(meta, seen.value)])
    node.add(SITES[0])
    node.install(SITES[0], certificates(SITES[0])[0])
    node.step()
    assert nodes.paths.site(SITES[0]) not in nodes.store.items
    assert node.replica.unpublished() == [SITES[0]]
    seen = nodes.store.items[meta]
    nodes.settle()
    assert_equal(nodes)
    assert nodes["edge-a"].served()[SITES[0]][0] is not None


def test_a_drop_without_the_engine_is_served_here_and_published_later(nodes: Nodes) -> None:
    for node in nodes.values():
        node.engine.faults.is_cut = True
    nodes["edge-a"].add(SITES[0])
    nodes["edge-a"].install(SITES[0], certificates(SITES[0])[0])
    for node in nodes.values():
        node.step()
    assert nodes["edge-a"].served()[SITES[0]][0] is not None
    assert nodes["edge-a"].replica.unpublished() == [SITES[0]]
    nodes["edge-a"].restart()
    nodes.settle()
    assert_equal(nodes)


def test_a_new_node_gets_everything_and_can_go_back_by_one_version(nodes: Nodes) -> None:
    nodes["edge-a"].add(SITES[0])
    for issued in certificates(SITES[0])[:2]:
        nodes["edge-a"].install(SITES[0], issued)
        nodes.settle()
    joiner = nodes.join("edge-d")
    nodes.settle()
    assert_equal(nodes)
    joiner.writer.rollback(SITES[0])
    nodes.settle()
    assert_equal(nodes)
    assert joiner.writer.site(SITES[0]).certificate.fingerprint == certificates(SITES[0])[0].fingerprint  # type: ignore[union-attr]


def test_old_tombstones_of_a_new_node_remove_nothing(nodes: Nodes, tmp_path: Path) -> None:
    joiner = nodes.join("edge-d")
    joiner.add(SITES[0])
    joiner.writer.remove_site(SITES[0])
    nodes["edge-a"].add(SITES[0])
    nodes.settle()
    assert_equal(nodes)
    assert not joiner.is_removed(SITES[0])


def test_a_node_that_keeps_only_some_sites_publishes_nothing_else(nodes: Nodes) -> None:
    for site in SITES[:2]:
        nodes["edge-a"].add(site)
        nodes["edge-a"].install(site, certificates(site)[0])
    mail = nodes.join("mail", only=(SITES[0],))
    nodes.settle()
    assert set(mail.writer.sites()) == {"main", SITES[0]}
    assert mail.served(only=(SITES[0],)) == nodes["edge-a"].served(only=(SITES[0],))
    assert mail.served()["main"] != nodes["edge-a"].served()["main"], "its own, which is nobody else's business"


def test_a_front_follows_and_publishes_nothing(tmp_path: Path) -> None:
    with Nodes(tmp_path, "edge-a", "dmz", front="dmz").closing() as nodes:
        nodes["edge-a"].add(SITES[0])
        nodes["edge-a"].install(SITES[0], certificates(SITES[0])[0])
        nodes.settle()
        assert nodes["dmz"].served() == nodes["edge-a"].served()
        before = nodes["edge-a"].served()
        nodes["dmz"].install(SITES[0], certificates(SITES[0])[1])
        nodes.settle()
        assert nodes["edge-a"].served() == before


def test_the_person_wins_over_the_drop_on_all_nodes(nodes: Nodes) -> None:
    nodes["edge-a"].add(SITES[0])
    nodes.settle()
    one, other = certificates(SITES[0])[:2]
    nodes["edge-a"].install(SITES[0], one)
    nodes["edge-b"].install(SITES[0], other, source="upload")
    nodes.settle()
    assert_equal(nodes)
    assert nodes["edge-c"].writer.site(SITES[0]).certificate.fingerprint == other.fingerprint  # type: ignore[union-attr]
    assert [each.reason for each in nodes["edge-b"].writer.records(SITES[0])].count("conflict") == 1


def test_the_first_declaration_that_the_cluster_saw_owns_the_name(nodes: Nodes) -> None:
    nodes["edge-c"].add("other.test")
    nodes["edge-c"].writer.remove_site("other.test")  # so that the numbers of the nodes differ
    nodes["edge-b"].add(SITES[1], SHARED)
    nodes["edge-b"].step()
    nodes["edge-a"].add(SITES[0], SHARED)
    nodes.settle()
    assert_equal(nodes)
    assert SHARED in nodes["edge-a"].writer.site(SITES[1]).names


def test_a_change_is_noted_while_everything_is_compared(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer tells of changes under its lock, and the comparison asks the writer."""
    replica = nodes["edge-a"].replica
    sites, noted = replica.local.sites(), list[bool]()

    def while_a_drop_comes() -> list[str]:
        dropping = threading.Thread(target=replica.note, args=(SITES[0],))
        dropping.start()
        dropping.join(30)
        noted.append(not dropping.is_alive())
        return sites

    monkeypatch.setattr(replica.local, "sites", while_a_drop_comes)
    nodes["edge-a"].attach()
    assert noted == [True]


def test_nodes_that_serve_the_same_have_one_digest_for_it(nodes: Nodes) -> None:
    a, b = nodes["edge-a"].replica, nodes["edge-b"].replica
    nodes["edge-a"].add(SITES[0])
    nodes["edge-a"].install(SITES[0], certificates(SITES[0])[0])
    nodes.settle()
    before = a.heads()
    assert before == b.heads()
    assert before[1] == 2
    nodes["edge-b"].install(SITES[0], certificates(SITES[0])[1])
    assert b.heads() != before
    nodes.settle()
    assert a.heads() == b.heads() != before
    nodes["edge-a"].writer.remove_site(SITES[0])
    assert a.heads()[1] == 1


def test_many_changes_at_once_arrive(nodes: Nodes) -> None:
    issued = CA.issue("*.many.test")
    sites = [f"s{number}.many.test" for number in range(75)]
    for site in sites:
        nodes["edge-a"].add(site)
        nodes["edge-a"].install(site, issued)
    before = nodes.store.revision
    nodes["edge-a"].step()
    assert nodes.store.revision - before <= 4, "many sites share a transaction"
    nodes.settle()
    assert_equal(nodes)


def test_a_removed_site_stays_removed_when_the_engine_is_restored(nodes: Nodes) -> None:
    for site in SITES:
        nodes["edge-a"].add(site)
    nodes["edge-a"].install(SITES[0], certificates(SITES[0])[0])
    nodes.settle()
    backup = nodes.store.snapshot()
    nodes["edge-b"].writer.remove_site(SITES[0])
    nodes["edge-b"].writer.set_site(SITES[1], {"inspect": True})
    nodes.settle()
    nodes.store.restore(backup)
    nodes.settle()
    assert_equal(nodes)
    assert all(node.is_removed(SITES[0]) for node in nodes.values())
    assert nodes["edge-c"].writer.site(SITES[1]).inspect
    joiner = nodes.join("edge-d")
    nodes.settle()
    assert SITES[0] not in joiner.writer.sites()


def test_an_emptied_engine_changes_nothing_and_is_filled_by_a_person_only(nodes: Nodes) -> None:
    nodes["edge-a"].add(SITES[0])
    nodes["edge-a"].install(SITES[0], certificates(SITES[0])[0])
    nodes.settle()
    before = nodes["edge-a"].served()
    nodes.store.empty()
    with pytest.raises(ForeignEngine, match="emptied"):
        nodes["edge-a"].attach()
    assert nodes.store.items == {}, "nothing is written"
    nodes.write_meta()
    assert nodes["edge-a"].attach().missing
    nodes["edge-a"].step()
    assert nodes.paths.site(SITES[0]) not in nodes.store.items, "so much is not put back without a person"
    nodes.settle(is_rebuild=True)
    assert_equal(nodes)
    assert nodes["edge-a"].served() == before
    joiner = nodes.join("edge-d")
    nodes.settle()
    assert joiner.served() == before


def test_a_deleted_key_is_no_removal_and_is_put_back(nodes: Nodes) -> None:
    for number in range(12):
        nodes["edge-a"].add(f"s{number}.test")
    nodes.settle()
    key = nodes.paths.site("s3.test")
    item = nodes.store.items.pop(key)
    nodes.settle()
    assert nodes.store.items[key].value != item.value
    assert_equal(nodes)
    assert "s3.test" in nodes["edge-b"].writer.sites()


def test_a_record_under_another_sites_path_does_not_count(nodes: Nodes) -> None:
    for site in SITES[:2]:
        nodes["edge-a"].add(site)
        nodes["edge-a"].install(site, certificates(site)[0])
    nodes.settle()
    before = nodes["edge-b"].served()
    one, other = (nodes.store.items[nodes.paths.head(site)] for site in SITES[:2])
    rogue = nodes["edge-c"].engine
    from certstore.cluster.engine import ModifiedAt, Put

    rogue.commit([ModifiedAt(one.key, one.modified)], [Put(one.key, other.value)])
    for _ in range(5):
        nodes["edge-b"].step()
    assert nodes["edge-b"].served() == before
    assert nodes["edge-b"].replica.follower.counts.refused["bad_signature"] == 1
    assert f"d/head/{SITES[0]}" in nodes["edge-b"].replica.follower.refused


def test_a_site_added_again_gets_its_old_certificate_again(nodes: Nodes) -> None:
    issued = certificates(SITES[0])[0]
    nodes["edge-a"].add(SITES[0])
    nodes["edge-a"].install(SITES[0], issued)
    nodes.settle()
    nodes["edge-b"].writer.remove_site(SITES[0])
    nodes.settle()
    joiner = nodes.join("edge-d")
    nodes.settle()
    joiner.add(SITES[0])
    joiner.install(SITES[0], issued)
    nodes.settle()
    assert_equal(nodes)
    assert nodes["edge-c"].served()[SITES[0]][0] is not None


@pytest.mark.parametrize("fault", ["lose_replies", "hold_requests", "repeat_requests"])
def test_an_answer_that_did_not_come_is_read_back(fault: str, nodes: Nodes) -> None:
    setattr(nodes["edge-a"].engine.faults, fault, 1)
    nodes["edge-a"].add(SITES[0])
    nodes["edge-a"].step()
    nodes["edge-b"].step()
    nodes["edge-b"].writer.set_site(SITES[0], {"inspect": True}) if SITES[0] in nodes["edge-b"].writer.sites() else None
    nodes["edge-b"].step()
    nodes.store.deliver_late()
    nodes.settle()
    assert_equal(nodes)


class Cluster(RuleBasedStateMachine):
    """Three stores under everything that can happen to them."""

    added = Bundle("added")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="cluster-"))
        self.nodes = Nodes(self.folder, *NODES)
        self.nodes.settle()
        self.backup = self.nodes.store.snapshot()
        self.floors: dict[str, dict[str, int]] = {}
        self.gone: set[str] = set()

    def teardown(self) -> None:
        try:
            self.heal()
        finally:
            self.nodes.close()
            shutil.rmtree(self.folder)

    def tried(self, act: Callable[[], object]) -> None:
        """What a person tries may be impossible just now."""
        try:
            act()
        except (InvalidSite, NotWritable, UnknownSite, UnknownVersion):
            pass

    @rule(name=st.sampled_from(NODES), site=st.sampled_from(SITES), is_sharing=st.booleans())
    def add(self, name: str, site: str, is_sharing: bool) -> None:
        self.gone.discard(site)
        self.tried(lambda: self.nodes[name].add(site, *([SHARED] if is_sharing else [])))

    @rule(name=st.sampled_from(NODES), site=st.sampled_from(SITES), number=st.integers(0, 2), is_upload=st.booleans())
    def install(self, name: str, site: str, number: int, is_upload: bool) -> None:
        source = "upload" if is_upload else "drop"
        self.tried(lambda: self.nodes[name].install(site, certificates(site)[number], source=source))

    @rule(name=st.sampled_from(NODES), site=st.sampled_from(SITES), is_inspected=st.booleans())
    def change(self, name: str, site: str, is_inspected: bool) -> None:
        self.tried(lambda: self.nodes[name].writer.set_site(site, {"inspect": is_inspected or None}))

    @rule(name=st.sampled_from(NODES), site=st.sampled_from(SITES))
    def roll_back(self, name: str, site: str) -> None:
        self.tried(lambda: self.nodes[name].writer.rollback(site))

    @rule(name=st.sampled_from(NODES), site=st.sampled_from(SITES))
    def remove(self, name: str, site: str) -> None:
        self.tried(lambda: self.nodes[name].writer.remove_site(site))

    @rule(name=st.sampled_from(NODES), times=st.integers(1, 4))
    def step(self, name: str, times: int) -> None:
        for _ in range(times):
            self.nodes[name].step()

    @rule(name=st.sampled_from(NODES))
    def restart(self, name: str) -> None:
        self.nodes[name].restart()

    @rule(name=st.sampled_from(NODES), is_cut=st.booleans())
    def cut(self, name: str, is_cut: bool) -> None:
        self.nodes[name].engine.faults.is_cut = is_cut

    @rule(name=st.sampled_from(NODES), fault=st.sampled_from(["lose_replies", "hold_requests", "repeat_requests"]))
    def break_requests(self, name: str, fault: str) -> None:
        setattr(self.nodes[name].engine.faults, fault, 1)

    @rule()
    def deliver_late(self) -> None:
        self.nodes.store.deliver_late()

    @rule()
    def compact(self) -> None:
        self.nodes.store.compact()

    @rule()
    def back_up(self) -> None:
        self.backup = self.nodes.store.snapshot()

    @rule()
    def restore(self) -> None:
        self.nodes.store.late.clear()
        self.nodes.store.restore(self.backup)

    @rule()
    def heal(self) -> None:
        self.nodes.settle(is_rebuild=True)
        assert_equal(self.nodes)
        for site in self.gone:
            assert all(site not in node.writer.sites() for node in self.nodes.values()), f"{site} came back"
        self.gone = {site for site in SITES if self.nodes[NODES[0]].is_removed(site)}

    @invariant()
    def floors_never_fall(self) -> None:
        for name, node in self.nodes.items():
            now = node.floors()
            for path, floor in self.floors.get(name, {}).items():
                assert now.get(path, 0) >= floor, f"{name} has forgotten {path}"
            self.floors[name] = now


@pytest.fixture
def untried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials start a process for each store; other tests have them."""
    monkeypatch.setattr(Trial, "__call__", lambda *_: None)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("untried")
def test_whatever_happens_the_stores_end_up_equal() -> None:
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(
        Cluster,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=40,
            deadline=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_what_was_published_counts_anew_after_a_comparison(nodes: Nodes) -> None:
    """An engine that was restored counts from an earlier revision, which no feed would reach for long."""
    a = nodes["edge-a"]
    a.attach()
    a.add(SITES[0])
    a.step()
    assert a.replica.published > 0
    a.attach()
    assert a.replica.published == 0
