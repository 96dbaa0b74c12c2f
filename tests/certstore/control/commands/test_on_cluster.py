"""The commands about a cluster, each on its own store, over an engine in memory: also with a kill at any point."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from certstore.cluster import access, keys, membership
from certstore.cluster.engine import EngineFull, EngineRefused, EngineStatus, ModifiedAt, Put
from certstore.cluster.invitation import identity_of_front
from certstore.cluster.keys import KeyRing, read_keys
from certstore.cluster.sealing import KeyRingSealer
from certstore.control.commands.requests import (
    AddSiteRequest,
    AdoptSiteRequest,
    ClusterStatusRequest,
    CommandRequest,
    InitClusterRequest,
    InstallRequest,
    InviteNodeRequest,
    JoinClusterRequest,
    LeaveClusterRequest,
    RemoveSiteRequest,
    RollbackRequest,
    SetSiteRequest,
)
from certstore.control.commands.results import CommandResult, InvitationResult, ListenerAddress, MembershipResult
from certstore.control.commands.table import COMMANDS, perform
from certstore.control.protocol import Fault, RequestFailed
from certstore.files.clock import utc_now
from certstore.model.certificate.dropped_file import DroppedFile
from certstore.model.cluster.paths import ClusterPaths
from certstore.model.cluster.records import NEWEST_SCHEMA, Live
from certstore.model.cluster.wire import RecordClass
from certstore.model.front import Front
from certstore.model.settings.cluster import ClusterSettings
from certstore.model.settings.models import SiteSettings
from certstore.store.front_mark import read_front
from certstore.store.writer import StoreWriter
from tests.certificates import CertificateAuthority
from tests.certstore.cluster.memory_engine import MemoryEngine, MemoryStore
from tests.certstore.cluster.test_front_access import GuardedEngine
from tests.certstore.stores import SITE, acquire

CA = CertificateAuthority()
SECTION: dict[str, Any] = {"engine": ["https://10.0.0.11:2379"], "ca_file": "ca.pem", "client_cert": "client.pem"}
CLIENT = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n"


class Nodes:
    """Stores that share an engine in memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = MemoryStore()
        self.engine = MemoryEngine(self.store)
        self.writers: dict[str, StoreWriter] = {}
        (folder / "ca.pem").write_text("authority")
        (folder / "client.pem").write_text(CLIENT)

    def writer(self, node: str) -> StoreWriter:
        if node not in self.writers:
            self.writers[node] = acquire(self.folder / node)
        return self.writers[node]

    def perform[R: CommandResult](self, node: str, request: CommandRequest[R]) -> R:
        return perform(self.writer(node), request)

    def init(self, node: str = "edge-a") -> MembershipResult:
        listeners = (ListenerAddress("https", "::", 443),)
        return self.perform(node, InitClusterRequest(SECTION, str(self.folder), node, listeners))

    def invite(self, node: str, *, by: str = "edge-a", **options: Any) -> InvitationResult:
        return self.perform(by, InviteNodeRequest(SECTION, str(self.folder), node, **options))

    def invite_front(self, node: str = "edge-f") -> InvitationResult:
        return self.invite(node, is_front=True, username=node, password="p", client=CLIENT)

    def join(self, node: str, text: str, *, merge: bool = False) -> MembershipResult:
        return self.perform(node, JoinClusterRequest(SECTION, str(self.folder), text, merge))

    def leave(self, node: str, other: str | None = None, *, is_last: bool = False) -> MembershipResult:
        return self.perform(node, LeaveClusterRequest(SECTION, str(self.folder), other, is_last))

    def status(self, node: str = "edge-a") -> Any:
        return self.perform(node, ClusterStatusRequest(SECTION, str(self.folder)))

    def names(self, node: str = "edge-a") -> list[str]:
        return [each.name for each in self.status(node).nodes]

    def keys(self, node: str) -> Path:
        return self.writer(node).layout.cluster_keys


@pytest.fixture
def nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Nodes]:
    nodes = Nodes(tmp_path)

    def open_engine(settings: ClusterSettings, base: Path) -> MemoryEngine:
        if settings.username is not None:
            paths = ClusterPaths(read_keys(nodes.keys("edge-a")).cluster)
            own = paths.live(settings.username), paths.invite(identity_of_front(paths.cluster, settings.username))
            return GuardedEngine(nodes.store, *own)
        assert (settings.ca_file, base) == (Path("ca.pem"), tmp_path)
        return MemoryEngine(nodes.store) if not nodes.engine.faults.is_cut else nodes.engine

    def ask_member(settings: ClusterSettings, base: Path, endpoint: str) -> EngineStatus | str:
        return "can't be reached" if nodes.engine.faults.is_cut else nodes.engine.status()

    monkeypatch.setattr(access, "open_engine", open_engine)
    monkeypatch.setattr(access, "ask_member", ask_member)
    yield nodes
    for writer in nodes.writers.values():
        writer.close()


@contextmanager
def fails(fault: Fault, words: str) -> Iterator[None]:
    with pytest.raises(RequestFailed) as failed:
        yield
    assert words in str(failed.value)
    assert failed.value.fault is fault
    assert "c2VjcmV0" not in str(failed.value)


class Killed(BaseException):
    """In place of a kill: nothing handles it."""


@contextmanager
def killed_at(monkeypatch: pytest.MonkeyPatch, module: object, name: str, *, after: bool = False) -> Iterator[None]:
    """The process ends before this function runs, or right after it."""
    original = getattr(module, name)

    def end(*args: Any, **options: Any) -> None:
        if after:
            original(*args, **options)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(module, name, end)
        with pytest.raises(Killed):
            yield


def test_two_nodes_find_each_other(nodes: Nodes) -> None:
    first = nodes.init()
    assert (first.node, first.sites) == ("edge-a", 1)
    joined = nodes.join("edge-b", nodes.invite("edge-b").text)
    assert (joined.cluster, joined.node) == (first.cluster, "edge-b")
    assert nodes.names("edge-a") == nodes.names("edge-b") == ["edge-a", "edge-b"]
    for node in ("edge-a", "edge-b"):
        assert stat.S_IMODE(nodes.keys(node).stat().st_mode) == 0o600
        assert read_keys(nodes.keys(node)).node == node
        assert str(nodes.keys(node)) in first.notes[0] + joined.notes[0], "where the keys are is said"


def test_a_key_file_elsewhere_is_used_where_the_section_names_one(nodes: Nodes) -> None:
    section = SECTION | {"key_file": "keys/cluster.json"}
    nodes.perform("edge-a", InitClusterRequest(section, str(nodes.folder), "edge-a"))
    assert read_keys(nodes.folder / "keys/cluster.json").node == "edge-a"
    assert not nodes.keys("edge-a").exists()


def test_a_node_founds_one_cluster(nodes: Nodes) -> None:
    cluster = nodes.init().cluster
    with fails(Fault.EXISTS, f"belongs to the cluster {cluster} already"):
        nodes.init()


def test_a_member_of_one_cluster_does_not_join_another(nodes: Nodes) -> None:
    nodes.init("edge-x")
    cluster = nodes.init().cluster
    before = nodes.keys("edge-x").read_bytes()
    with fails(Fault.EXISTS, "already; to leave it: certedge cluster leave"):
        nodes.join("edge-x", nodes.invite("edge-b").text)
    assert nodes.keys("edge-x").read_bytes() == before
    assert read_keys(nodes.keys("edge-a")).cluster == cluster


# In step at once


def install(nodes: Nodes, node: str, site: str) -> bytes:
    """The site's new certificate as a file of the archive."""
    writer, issued = nodes.writer(node), CA.issue(site)
    if site not in writer.sites():
        writer.add_site(site, SiteSettings(host=site))
    writer.install_files(site, [DroppedFile("a.pem", issued.combined_pem)], source="upload")
    return issued.combined_pem


def served(nodes: Nodes, node: str, site: str) -> bytes:
    return (nodes.writer(node).layout.live(site) / "combined.pem").read_bytes()


def test_a_cluster_has_what_its_first_node_had_and_a_joiner_has_it_at_once(nodes: Nodes) -> None:
    certificate = install(nodes, "edge-a", SITE)
    assert nodes.init().message.endswith(": 2 sites, in step")
    joined = nodes.join("edge-b", nodes.invite("edge-b").text)
    assert joined.message.endswith(": 2 sites, in step")
    assert served(nodes, "edge-b", SITE) == certificate
    assert served(nodes, "edge-b", "main") == served(nodes, "edge-a", "main")


def test_a_joiner_that_merges_gives_the_cluster_its_sites(nodes: Nodes) -> None:
    nodes.init()
    certificate = install(nodes, "edge-b", SITE)
    nodes.join("edge-b", nodes.invite("edge-b").text, merge=True)
    joined = nodes.join("edge-c", nodes.invite("edge-c").text)
    assert joined.sites == 2
    assert served(nodes, "edge-c", SITE) == certificate


def test_a_front_has_all_sites_and_publishes_none(nodes: Nodes) -> None:
    certificate = install(nodes, "edge-a", SITE)
    nodes.init()
    before = {item.key for item in nodes.engine.read("/").items}
    nodes.join("edge-f", nodes.invite_front().text)
    assert served(nodes, "edge-f", SITE) == certificate
    assert {item.key.rpartition("/")[2] for item in nodes.engine.read("/").items if item.key not in before} == {
        "edge-f"
    }


@pytest.mark.parametrize(
    "request_",
    [
        InstallRequest(SITE, (DroppedFile("a.pem", b""),)),
        RollbackRequest(SITE),
        AddSiteRequest("new.test"),
        SetSiteRequest(SITE, {"host": SITE}),
        AdoptSiteRequest(SITE),
        RemoveSiteRequest(SITE),
    ],
    ids=lambda request: request.command,
)
def test_a_front_refuses_what_would_have_to_reach_all_nodes(nodes: Nodes, request_: CommandRequest[Any]) -> None:
    certificate = install(nodes, "edge-a", SITE)
    nodes.init()
    nodes.join("edge-f", nodes.invite_front().text)
    sites = nodes.writer("edge-f").sites()
    with fails(Fault.REFUSED, "edge-f is a front, which changes nothing; do it on a full node, e.g. edge-a"):
        nodes.perform("edge-f", request_)
    assert served(nodes, "edge-f", SITE) == certificate
    assert nodes.writer("edge-f").sites() == sites
    assert read_front(nodes.writer("edge-f").layout) == Front("edge-f", "edge-a"), "the next start knows it too"


def test_what_changes_something_is_for_full_nodes(nodes: Nodes) -> None:
    """Of a new command, somebody has to decide it."""
    allowed = {"service.reload", "notify.test", "user.add", "user.remove", "token.add", "token.remove"}
    for kind, command in COMMANDS.items():
        is_of_cluster = (command.action or "").startswith("cluster.")
        if command.action is not None and not is_of_cluster and command.action not in allowed:
            assert command.changes_sites, kind.__name__


def test_a_node_that_keeps_some_sites_gets_no_others(nodes: Nodes) -> None:
    install(nodes, "edge-a", SITE)
    nodes.init()
    section = SECTION | {"only": ["main"]}
    text = nodes.invite("database").text
    nodes.perform("database", JoinClusterRequest(section, str(nodes.folder), text))
    assert nodes.writer("database").sites() == ("main",)
    assert served(nodes, "database", "main") == served(nodes, "edge-a", "main")


def test_a_join_whose_engine_goes_away_is_finished_by_the_service(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes.init()
    text, complete = nodes.invite("edge-b").text, membership.complete

    def complete_and_lose(engine: MemoryEngine, *args: Any) -> None:
        complete(engine, *args)
        engine.faults.is_cut = True

    monkeypatch.setattr(membership, "complete", complete_and_lose)
    joined = nodes.join("edge-b", text)
    assert joined.message.endswith("not in step yet")
    assert "the service goes on with it once it runs" in joined.notes[0]
    assert nodes.names() == ["edge-a", "edge-b"]


# Invitations


def test_an_invitation_works_once(nodes: Nodes) -> None:
    nodes.init()
    text = nodes.invite("edge-b").text
    nodes.join("edge-b", text)
    with fails(Fault.REFUSED, "has been used, or its hour is over"):
        nodes.join("edge-thief", text)
    assert not nodes.keys("edge-thief").exists()


def test_the_machine_that_comes_second_keeps_no_keys(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has read the invitation before the other one used it."""
    nodes.init()
    text, complete = nodes.invite("edge-b").text, membership.complete

    def after_another(*args: Any) -> None:
        monkeypatch.setattr(membership, "complete", complete)
        nodes.join("edge-b", text)
        complete(*args)

    monkeypatch.setattr(membership, "complete", after_another)
    with fails(Fault.REFUSED, "another machine has become edge-b"):
        nodes.join("edge-late", text)
    assert not nodes.keys("edge-late").exists()
    assert nodes.keys("edge-b").exists()


@pytest.mark.parametrize("name", ["Edge-B", "edge.b", "", "-b", "a" * 64, "main\n"])
def test_a_node_has_a_name_that_can_be_one(nodes: Nodes, name: str) -> None:
    nodes.init()
    with fails(Fault.INVALID, "can't be the name of a node"):
        nodes.invite(name)


@pytest.mark.parametrize("text", ["", "certedge: could not invite edge-b", "-----BEGIN CERTEDGE INVITATION-----\n"])
def test_what_is_not_an_invitation_is_refused(nodes: Nodes, text: str) -> None:
    with fails(Fault.INVALID, "the invitation can't be used"):
        nodes.join("edge-b", text)


def test_the_new_node_gets_a_client_certificate_of_its_own_where_one_is_given(nodes: Nodes) -> None:
    from certstore.cluster.invitation import Invitation

    nodes.init()
    assert Invitation.from_text(nodes.invite("edge-b").text).access.client_pem == CLIENT
    own = Invitation.from_text(nodes.invite("edge-b", client="its own").text)
    assert own.access.client_pem == "its own"


def test_a_result_shows_no_invitation(nodes: Nodes) -> None:
    nodes.init()
    result = nodes.invite("edge-b")
    assert "INVITATION" not in repr(result)
    assert "INVITATION" in result.to_json()["text"]
    request = JoinClusterRequest(SECTION, "/", result.text)
    assert "INVITATION" not in repr(request)


# Kills


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("module", "name"), [(keys, "write_keys"), (membership, "complete")], ids=["keys", "member"])
def test_a_join_that_was_killed_is_finished_by_the_next_one(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch, module: object, name: str, after: bool
) -> None:
    nodes.init()
    text = nodes.invite("edge-b").text
    with killed_at(monkeypatch, module, name, after=after):
        nodes.join("edge-b", text)
    assert nodes.join("edge-b", text).node == "edge-b"
    assert nodes.names("edge-b") == ["edge-a", "edge-b"]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_an_init_that_was_killed_is_finished_by_the_next_one(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    with killed_at(monkeypatch, keys, "write_keys", after=after):
        nodes.init()
    cluster = nodes.init().cluster
    assert nodes.status().cluster == cluster
    assert nodes.names() == ["edge-a"]


def test_a_leave_that_was_killed_is_finished_by_the_next_one(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes.init()
    nodes.join("edge-b", nodes.invite("edge-b").text)
    with killed_at(monkeypatch, keys, "remove_keys"):
        nodes.leave("edge-b")
    nodes.leave("edge-b")
    assert not nodes.keys("edge-b").exists()
    assert nodes.names() == ["edge-a"]


# Sites of its own


def test_a_joiner_with_other_sites_is_refused_with_their_list(nodes: Nodes) -> None:
    nodes.init()
    sites = [f"s{number:02}.client-a.test" for number in range(25)]
    for site in sites:
        nodes.writer("edge-b").add_site(site, SiteSettings(host=site))
    text = nodes.invite("edge-b").text
    with pytest.raises(RequestFailed) as refused:
        nodes.join("edge-b", text)
    assert "s00.client-a.test\ns01.client-a.test" in refused.value.found
    assert refused.value.found.endswith("s19.client-a.test\nand 5 more")
    assert "--merge" in refused.value.remedy
    assert not nodes.keys("edge-b").exists()
    assert nodes.names() == ["edge-a"]
    assert nodes.join("edge-b", text, merge=True).sites == 26, "the invitation has not been used up"


# Leaving


def test_a_node_that_leaves_keeps_its_store(nodes: Nodes) -> None:
    nodes.init()
    nodes.join("edge-b", nodes.invite("edge-b").text)
    nodes.writer("edge-b").add_site(SITE, SiteSettings(host=SITE))
    left = nodes.leave("edge-b")
    assert (left.node, left.sites) == ("edge-b", 2)
    assert nodes.names() == ["edge-a"]
    with fails(Fault.INVALID, "keys can't be read"):
        nodes.status("edge-b")


def test_a_member_whose_machine_is_gone_is_taken_out(nodes: Nodes) -> None:
    nodes.init()
    nodes.join("edge-b", nodes.invite("edge-b").text)
    left = nodes.leave("edge-a", "edge-b")
    assert left.node == "edge-b"
    assert "still has its certificates and the cluster's keys" in left.notes[0]
    assert nodes.names() == ["edge-a"]
    found = nodes.status("edge-b")
    assert [each.code for each in found.problems] == ["cluster_key"], "and it is told so"
    with fails(Fault.REFUSED, "no member edge-x"):
        nodes.leave("edge-a", "edge-x")


def test_the_last_node_leaves_only_if_that_is_meant(nodes: Nodes) -> None:
    cluster = nodes.init().cluster
    with fails(Fault.REFUSED, "certedge cluster leave --last"):
        nodes.leave("edge-a")
    assert nodes.keys("edge-a").exists()
    left = nodes.leave("edge-a", is_last=True)
    assert re.fullmatch(r"\d records deleted from the engine", left.notes[0])
    assert not nodes.engine.read(f"/certedge/{cluster}/").items
    assert not nodes.keys("edge-a").exists()


def test_a_node_that_is_not_the_last_one_does_not_empty_the_engine(nodes: Nodes) -> None:
    nodes.init()
    nodes.join("edge-b", nodes.invite("edge-b").text)
    nodes.leave("edge-a", is_last=True)
    assert nodes.names("edge-b") == ["edge-b"]


def test_a_front_leaves_for_itself_alone(nodes: Nodes) -> None:
    nodes.init()
    nodes.join("edge-f", nodes.invite_front().text)
    left = nodes.leave("edge-f")
    assert left.notes == ("a front can't change members: run certedge cluster remove edge-f on a full node",)
    assert not nodes.keys("edge-f").exists()
    assert nodes.names() == ["edge-a", "edge-f"], "until somebody who can has done so"
    nodes.perform("edge-f", AddSiteRequest("new.test", {"host": "new.test"}))
    assert read_front(nodes.writer("edge-f").layout) is None, "alone, it is no front any more"


# Engines in trouble


def test_status_says_so_when_the_engine_is_away(nodes: Nodes) -> None:
    nodes.init()
    nodes.engine.faults.is_cut = True
    found = nodes.status()
    assert [each.code for each in found.problems] == ["cluster_detached"]
    assert [each.problem for each in found.engine] == ["can't be reached"]
    assert found.has_problems
    with fails(Fault.UNREACHABLE, "check that most members of the engine run"):
        nodes.invite("edge-b")


def test_status_says_so_when_the_engine_was_emptied_or_is_full(nodes: Nodes) -> None:
    nodes.init()
    nodes.store.is_full = True
    assert [each.code for each in nodes.status().problems] == ["engine_full"]
    nodes.store.is_full = False
    nodes.store.empty()
    assert [each.code for each in nodes.status().problems] == ["engine_foreign"]
    with fails(Fault.REFUSED, "it is another one, or was emptied"):
        nodes.leave("edge-a", is_last=True)


def test_a_full_engine_takes_no_invitation_and_says_what_helps(nodes: Nodes) -> None:
    nodes.init()
    nodes.store.is_full = True
    with fails(Fault.STORAGE, "etcdctl defrag"):
        nodes.invite("edge-b")


@pytest.mark.parametrize(
    ("error", "fault", "words"),
    [
        (EngineRefused("10.0.0.11: permission denied"), Fault.REFUSED, "check `cluster:`"),
        (EngineFull("10.0.0.11: database space exceeded"), Fault.STORAGE, "certedge docs cluster"),
        (access.AccessUnusable("ca.pem can't be read"), Fault.INVALID, "ca.pem can't be read"),
    ],
    ids=lambda each: type(each).__name__,
)
def test_what_the_engine_answers_is_said_with_what_to_do(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch, error: Exception, fault: Fault, words: str
) -> None:
    def open_engine(*_: object) -> None:
        raise error

    monkeypatch.setattr(access, "open_engine", open_engine)
    with fails(fault, words):
        nodes.init()


def test_settings_that_can_not_be_used_are_refused(nodes: Nodes) -> None:
    with fails(Fault.INVALID, "certedge check-config"):
        nodes.perform("edge-a", InitClusterRequest({"engine": []}, str(nodes.folder), "edge-a"))


def test_keys_that_others_may_read_are_refused(nodes: Nodes) -> None:
    nodes.init()
    nodes.keys("edge-a").chmod(0o644)
    with fails(Fault.INVALID, "chmod 600"):
        nodes.status()


def test_a_key_that_is_missing_is_named(nodes: Nodes) -> None:
    nodes.init()
    ring = read_keys(nodes.keys("edge-a"))
    other = KeyRing.draw("edge-a")
    keys.write_keys(
        nodes.keys("edge-a"), KeyRing(ring.cluster, ring.node, ring.role, other.current, other.keys, ring.own)
    )
    problems = nodes.status().problems
    assert {each.code for each in problems} == {"cluster_key"}
    assert all(ring.current in each.message for each in problems)


def test_a_machine_that_was_replaced_is_told_so(nodes: Nodes) -> None:
    nodes.init()
    nodes.join("edge-b", nodes.invite("edge-b").text)
    text = nodes.invite("edge-b", again=True).text
    nodes.perform("edge-b-new", JoinClusterRequest(SECTION, str(nodes.folder), text))
    assert [each.message for each in nodes.status("edge-b").problems] == [
        "another machine has become edge-b: let this one join under a name of its own"
    ]
    assert nodes.status("edge-b-new").problems == ()


def test_a_record_of_a_newer_release_is_named_and_skipped(nodes: Nodes) -> None:
    nodes.init()
    ring = read_keys(nodes.keys("edge-a"))
    path = ClusterPaths(ring.cluster).member("edge-z")
    facts = {"schema": NEWEST_SCHEMA + 1, "name": "edge-z", "colour": "red"}
    value = KeyRingSealer(ring).seal(path, 1, RecordClass.SITES, json.dumps(facts).encode())
    nodes.engine.commit([ModifiedAt(path, 0)], [Put(path, value)])
    found = nodes.status()
    assert [each.code for each in found.problems] == ["newer_release"]
    assert "update certedge on this node" in found.problems[0].message
    assert [each.name for each in found.nodes] == ["edge-a"]


@pytest.mark.parametrize(
    ("hours", "words"), [(3, "3 hours ahead of ours"), (-3, "3 hours behind ours")], ids=["ahead", "behind"]
)
def test_a_clock_that_is_hours_off_is_named(nodes: Nodes, hours: int, words: str) -> None:
    nodes.init()
    ring = read_keys(nodes.keys("edge-a"))
    path = ClusterPaths(ring.cluster).live("edge-a")
    live = Live("0f" * 8, 1 << 40, "heads", 1, "0.2", utc_now() + timedelta(hours=hours))
    nodes.engine.commit([ModifiedAt(path, 0)], [Put(path, KeyRingSealer(ring).seal_live(path, 1, live.encode()))])
    [node] = nodes.status().nodes
    assert [each.code for each in node.problems] == ["clock_skew"]
    assert words in node.problems[0].message
