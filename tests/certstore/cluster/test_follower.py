"""What other nodes published is adopted with care: old, foreign and unusable records change nothing here."""

import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

from certstore.cluster.engine import ModifiedAt, Put
from certstore.cluster.sealing import KeyRingSealer
from certstore.model.cluster.wire import RecordClass
from certstore.net.tls_engine import library_in_force
from certstore.store.journal import JournalWriter
from tests.certificates import CertificateAuthority
from tests.certstore.cluster.replicas import Nodes
from tests.certstore.stores import problem_codes, served

SITE, OTHER = "one.test", "two.test"


@pytest.fixture
def nodes(tmp_path: Path, ca: CertificateAuthority) -> Iterator[Nodes]:
    with Nodes(tmp_path, "edge-a", "edge-b").closing() as nodes:
        for site in (SITE, OTHER):
            nodes["edge-a"].add(site)
            nodes["edge-a"].install(site, ca.issue(site))
        nodes.settle()
        yield nodes


def write(nodes: Nodes, key: str, value: bytes) -> None:
    """As somebody who has the engine, and perhaps not the keys."""
    item = nodes.store.items[key]
    nodes["edge-a"].engine.commit([ModifiedAt(key, item.modified)], [Put(key, value)])


def test_a_library_that_cannot_serve_a_certificate_keeps_the_old_one_and_publishes_nothing(
    nodes: Nodes, ca: CertificateAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    b, before = nodes["edge-b"], nodes["edge-b"].served()[SITE]
    refused = ca.issue(SITE)
    own = b.writer._state.trial

    def trial(files: Mapping[str, bytes]) -> str | None:
        return "its key is too unusual" if files["privkey.pem"] == refused.privkey_pem else own(files)

    with monkeypatch.context() as patched:
        patched.setattr(b.writer._state, "trial", trial)
        patched.setattr("certstore.store.adoption.library_in_force", lambda: "another library")
        nodes["edge-a"].install(SITE, refused)
        nodes["edge-a"].install(OTHER, ca.issue(OTHER))
        nodes.settle()
        assert b.served()[SITE] == before
        assert b.served()[OTHER] == nodes["edge-a"].served()[OTHER], "the others go on"
        assert problem_codes(b.writer, SITE) == {"not_adopted_here"}
        assert b.replica.unpublished() == []
        assert served(nodes["edge-a"].writer.layout.root, SITE) == refused.fingerprint, "the others keep theirs"
    nodes.settle()
    assert b.served() == nodes["edge-a"].served(), "as soon as it can be served"
    assert problem_codes(b.writer, SITE) == set()


@pytest.mark.parametrize(("library", "trials"), [(library_in_force(), 0), ("another library", 1)])
def test_what_another_node_has_tried_with_the_same_library_is_not_tried_again(
    nodes: Nodes, ca: CertificateAuthority, monkeypatch: pytest.MonkeyPatch, library: str, trials: int
) -> None:
    tried: list[Mapping[str, bytes]] = []
    b, issued, own = nodes["edge-b"], ca.issue(SITE), nodes["edge-b"].writer._state.trial

    def trial(files: Mapping[str, bytes]) -> str | None:
        tried.append(files)
        return own(files)

    monkeypatch.setattr(b.writer._state, "trial", trial)
    monkeypatch.setattr("certstore.store.adoption.library_in_force", lambda: library)
    nodes["edge-a"].install(SITE, issued)
    nodes.settle()
    assert served(b.writer.layout.root, SITE) == issued.fingerprint
    assert len(tried) == trials


def test_a_drop_on_the_node_that_refused_counts_again(
    nodes: Nodes, ca: CertificateAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    b, refused, own = nodes["edge-b"], ca.issue(SITE), nodes["edge-b"].writer._state.trial
    with monkeypatch.context() as patched:
        patched.setattr(
            b.writer._state, "trial", lambda files: "no" if files["privkey.pem"] == refused.privkey_pem else own(files)
        )
        nodes["edge-a"].install(SITE, refused)
        nodes.settle()
        better = ca.issue(SITE)
        b.install(SITE, better)
        nodes.settle()
    assert served(nodes["edge-a"].writer.layout.root, SITE) == better.fingerprint


def test_an_old_record_does_not_come_back(nodes: Nodes, ca: CertificateAuthority) -> None:
    """Authentic, and shown again by who has the engine."""
    key = nodes.paths.head(SITE)
    old = nodes.store.items[key].value
    nodes["edge-a"].install(SITE, ca.issue(SITE))
    nodes.settle()
    before = nodes["edge-b"].served()
    write(nodes, key, old)
    nodes.settle()
    assert [node.served() for node in nodes.values()] == [before, before]
    assert nodes.store.items[key].value != old, "the nodes write the newer one again"
    assert any(node.replica.follower.went_back.since(datetime.now(UTC)) for node in nodes.values())


def test_an_old_certificate_of_a_removed_site_does_not_lower_what_is_known(
    nodes: Nodes, ca: CertificateAuthority
) -> None:
    """Else a site that is added again could be given the certificate that it had when it was removed."""
    key, old = nodes.paths.head(SITE), []
    for _ in range(3):
        old.append(nodes.store.items[key].value)
        nodes["edge-a"].install(SITE, ca.issue(SITE))
        nodes.settle()
    nodes["edge-a"].writer.remove_site(SITE)
    nodes.settle()
    floors = nodes["edge-b"].floors()
    nodes["edge-a"].engine.commit([ModifiedAt(key, 0)], [Put(key, old[0])])
    nodes.settle()
    assert nodes["edge-b"].floors() == floors
    nodes["edge-a"].add(SITE)
    nodes.settle()
    write(nodes, key, old[1])
    nodes.settle()
    for node in nodes.values():
        assert node.served()[SITE][0] is None, "the old one is not live again"


def test_a_record_of_a_newer_release_is_skipped_and_not_lost(nodes: Nodes) -> None:
    key = nodes.paths.site(SITE)
    sealer = KeyRingSealer(nodes.ring)
    newer = sealer.seal(key, 50, RecordClass.SITES, b'{"schema": 99, "host": "one.test"}')
    before = nodes["edge-b"].served()
    write(nodes, key, newer)
    nodes.settle()
    assert nodes["edge-b"].served() == before
    assert nodes.store.items[key].value == newer
    refused = nodes["edge-b"].replica.follower.refused[f"d/site/{SITE}"]
    assert refused.why.value == "newer_release"


@pytest.mark.parametrize(
    "value", [b"", b"CE1", b"rubbish" * 100, b"CE1" + bytes(200)], ids=["empty", "short", "long", "zeros"]
)
def test_rubbish_changes_nothing(value: bytes, nodes: Nodes) -> None:
    before = nodes["edge-b"].served()
    write(nodes, nodes.paths.head(SITE), value)
    nodes.settle()
    assert nodes["edge-b"].served() == before


def test_a_feed_that_lags_behind_a_reading_brings_nothing_old(nodes: Nodes, ca: CertificateAuthority) -> None:
    """The publisher has read more than the feed has shown."""
    a, b = nodes["edge-a"], nodes["edge-b"]
    for _ in range(3):
        a.install(SITE, ca.issue(SITE))
        a.step()
    b.install(SITE, ca.issue(SITE, OTHER), source="upload")
    b.replica.publish()
    nodes.settle()
    assert not b.replica.follower.went_back.since(datetime.now(UTC))
    assert a.served() == b.served()


def test_a_full_disk_here_is_tried_again(
    nodes: Nodes, ca: CertificateAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    a, b = nodes["edge-a"], nodes["edge-b"]
    before = b.served()
    a.install(SITE, ca.issue(SITE))
    a.step()
    with monkeypatch.context() as patched:
        patched.setattr(JournalWriter, "publish", full)
        b.step()
        seen = [b.replica.follower.is_incomplete]
        assert "No space left" in b.replica.follower.not_adopted[SITE], "the other nodes are told"
    assert b.served()[SITE] == before[SITE]
    nodes.settle()
    seen.append(b.replica.follower.is_incomplete)
    assert seen == [True, False]
    assert b.replica.follower.not_adopted == {}
    assert b.served() == a.served()


def test_a_full_disk_does_not_cost_a_new_node_the_version_to_go_back_to(
    nodes: Nodes, ca: CertificateAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    nodes["edge-a"].install(SITE, ca.issue(SITE))
    nodes.settle()
    joiner = nodes.join("edge-c")
    with monkeypatch.context() as patched:
        patched.setattr("certstore.store.adoption.stage_version", full)
        joiner.attach()
        assert joiner.replica.follower.is_incomplete
    nodes.settle()
    assert joiner.served() == nodes["edge-a"].served()
    assert len(joiner.writer.versions(SITE)) == 2
    assert joiner.writer.predecessor(SITE)


def test_what_a_node_made_do_with_does_not_replace_what_the_others_have(nodes: Nodes, ca: CertificateAuthority) -> None:
    """Its live version was lost, and its start went back to an older one: it gets the right one again."""
    for _ in range(2):
        nodes["edge-a"].install(SITE, ca.issue(SITE))
        nodes.settle()
    b = nodes["edge-b"]
    before = b.served()
    live = b.writer.live_version(SITE)
    assert live is not None
    shutil.rmtree(b.writer.layout.version(SITE, live.number))
    b.restart()
    assert b.served()[SITE] != before[SITE]
    nodes.settle()
    assert [node.served() for node in nodes.values()] == [before, before]


def test_settings_that_met_others_are_on_record(nodes: Nodes) -> None:
    a, b = nodes["edge-a"], nodes["edge-b"]
    a.writer.set_site(SITE, {"inspect": True})
    b.writer.set_site(SITE, {"contact": ["admin@one.test"]})
    mine, kept = b.writer.layout.site_yaml(SITE), b.writer.layout.drop_folder(SITE) / "site.yaml.edge-b"
    mine.write_text(f"# ours\n{mine.read_text()}")
    b.writer.check(SITE)
    before = mine.read_text()
    a.step()
    nodes.settle()
    assert (kept.read_text(), "contact" in mine.read_text()) == (before, False), "with its comments"
    b.writer.check(SITE)
    assert not b.writer.problems(SITE), "the kept file is no drop"
    assert a.served() == b.served()
    assert b.writer.site(SITE).inspect
    record = next(each for each in reversed(b.writer.records(SITE)) if each.reason == "conflict")
    assert "edge-a" in record.message
    assert "admin@one.test" in record.message, "so that nothing that somebody wrote is lost"
    a.writer.set_site(SITE, {"inspect": False})
    nodes.settle()
    assert kept.read_text() == before, "a change that met none keeps nothing"
    assert not a.writer.layout.drop_folder(SITE).joinpath("site.yaml.edge-a").exists()
