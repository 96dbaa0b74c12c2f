"""What changed here is published by conditional transactions, and never blindly again."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from certstore.cluster.engine import EngineFull, EngineLost
from certstore.model.cluster.paths import Shelf
from certstore.model.cluster.records import HeadRecord, decode_seq
from certstore.store.adoption import Declaration
from tests.certificates import CertificateAuthority
from tests.certstore.cluster.replicas import Node, Nodes

SITE, OTHER = "one.test", "two.test"


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    with Nodes(tmp_path, "edge-a", "edge-b").closing() as nodes:
        yield nodes


def numbers(node: Node, site: str) -> dict[str, int]:
    declaration = node.writer.declaration(site)
    assert isinstance(declaration, Declaration)
    return dict(declaration.numbers)


def shelves(nodes: Nodes) -> set[Shelf]:
    return {where.shelf for key in nodes.store.items if (where := nodes.paths.parse(key)) is not None}


def test_the_numbers_of_declarations_are_kept_when_a_cluster_begins(nodes: Nodes) -> None:
    a = nodes["edge-a"]
    for site in (SITE, OTHER):
        a.add(site)
    before = {site: numbers(a, site) for site in a.writer.sites()}
    nodes.settle()
    assert {site: numbers(a, site) for site in a.writer.sites()} == before
    assert decode_seq(nodes.store.items[nodes.paths.seq].value) == max(numbers(a, OTHER).values())
    assert numbers(nodes["edge-b"], OTHER) == before[OTHER]


def test_a_node_that_counted_alone_is_given_the_next_number(nodes: Nodes) -> None:
    nodes.settle()
    for node in nodes.values():
        node.engine.faults.is_cut = True
    nodes["edge-a"].add(SITE)
    for number in range(5):
        nodes["edge-b"].add(f"s{number}.test")
    before = numbers(nodes["edge-a"], SITE)[SITE]
    nodes["edge-b"].engine.faults.is_cut = False
    nodes["edge-b"].step()
    nodes.settle()
    after = numbers(nodes["edge-a"], SITE)[SITE]
    assert before < after == decode_seq(nodes.store.items[nodes.paths.seq].value)
    assert numbers(nodes["edge-b"], SITE) == {SITE: after}


def test_a_version_goes_up_with_the_one_before_it(nodes: Nodes, ca: CertificateAuthority) -> None:
    a = nodes["edge-a"]
    a.add(SITE)
    a.install(SITE, ca.issue(SITE))
    nodes.settle()
    assert nodes.paths.prev(SITE) not in nodes.store.items
    a.install(SITE, ca.issue(SITE))
    nodes.settle()
    head, previous = nodes.store.items[nodes.paths.head(SITE)], nodes.store.items[nodes.paths.prev(SITE)]
    assert head.modified == previous.modified, "in one transaction"


def test_a_removal_takes_the_certificate_with_it(nodes: Nodes, ca: CertificateAuthority) -> None:
    a = nodes["edge-a"]
    a.add(SITE)
    for _ in range(2):
        a.install(SITE, ca.issue(SITE))
        nodes.settle()
    a.writer.remove_site(SITE)
    nodes.settle()
    assert nodes.paths.site(SITE) in nodes.store.items
    assert not {nodes.paths.head(SITE), nodes.paths.prev(SITE)} & nodes.store.items.keys()


def test_nothing_is_published_twice(nodes: Nodes, ca: CertificateAuthority) -> None:
    a = nodes["edge-a"]
    a.add(SITE)
    a.install(SITE, ca.issue(SITE))
    nodes.settle()
    before = nodes.store.revision
    nodes["edge-b"].restart()
    for site in a.writer.sites():
        a.replica.note(site)
    nodes.settle()
    assert nodes.store.revision == before


@pytest.mark.parametrize("is_applied", [True, False], ids=["applied", "not applied"])
def test_a_lost_answer_is_read_back(is_applied: bool, nodes: Nodes) -> None:
    nodes.settle()
    a = nodes["edge-a"]
    a.add(SITE)
    faults = a.engine.faults
    faults.lose_replies, faults.hold_requests = (1, 0) if is_applied else (0, 1)
    a.replica.publish()
    assert a.replica.unpublished() == []
    assert nodes.store.items[nodes.paths.site(SITE)].created == nodes.store.revision
    item = nodes.store.items[nodes.paths.site(SITE)]
    nodes.store.deliver_late()
    assert nodes.store.items[nodes.paths.site(SITE)] == item, "what comes late is refused"


def test_a_full_engine_keeps_the_change_for_later(nodes: Nodes, ca: CertificateAuthority) -> None:
    nodes.settle()
    a = nodes["edge-a"]
    nodes.store.is_full = True
    a.add(SITE)
    a.install(SITE, ca.issue(SITE))
    with pytest.raises(EngineFull):
        a.replica.publish()
    assert a.replica.unpublished() == [SITE]
    nodes.store.is_full = False
    nodes.settle()
    assert nodes["edge-b"].served() == a.served()


def test_an_engine_that_is_away_keeps_the_change_for_later(nodes: Nodes) -> None:
    nodes.settle()
    a = nodes["edge-a"]
    a.engine.faults.is_cut = True
    a.add(SITE)
    with pytest.raises(EngineLost):
        a.replica.publish()
    a.engine.faults.is_cut = False
    a.replica.publish()
    assert nodes.paths.site(SITE) in nodes.store.items


def test_a_node_that_is_cut_off_looks_only_at_what_it_has_to_publish(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says every few seconds how many that are."""
    a = nodes["edge-a"]
    a.add(OTHER)
    nodes.settle()
    a.attach()
    a.engine.faults.is_cut = True
    a.add(SITE)
    asked, own = list[str](), a.replica._publisher.is_dirty

    def is_dirty(site: str) -> bool:
        asked.append(site)
        return own(site)

    monkeypatch.setattr(a.replica._publisher, "is_dirty", is_dirty)
    assert a.replica.unpublished() == [SITE]
    assert len(asked) > 1, "after a comparison it is not known which"
    asked.clear()
    assert a.replica.unpublished() == [SITE]
    assert asked == [SITE]
    a.engine.faults.is_cut = False
    a.replica.publish()
    assert nodes.paths.site(SITE) in nodes.store.items


def test_nobody_else_can_have_what_is_only_known_here(nodes: Nodes, ca: CertificateAuthority) -> None:
    """Only sites, versions, their count and what the cluster is; keys and addresses are in no value as they are."""
    a = nodes["edge-a"]
    a.add(SITE)
    issued = ca.issue(SITE)
    a.writer.set_site(SITE, {"contact": ["admin@one.test"]})
    a.install(SITE, issued)
    nodes.settle()
    assert shelves(nodes) == {Shelf.META, Shelf.MEMBER, Shelf.SEQ, Shelf.SITE, Shelf.HEAD}
    values = b"".join(item.value for item in nodes.store.items.values())
    for secret in (issued.privkey_pem[40:80], b"PRIVATE KEY", b"admin@one.test", issued.cert_pem[40:80]):
        assert secret not in values


def test_a_site_that_cannot_be_published_holds_up_no_other(
    nodes: Nodes, ca: CertificateAuthority, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The engine takes a million bytes at once; one tenant's odd files must not stop all others."""
    nodes.settle()
    a = nodes["edge-a"]
    for site in (SITE, OTHER):
        a.add(site)
        a.install(site, ca.issue(site))
    own = HeadRecord.encode

    def encode(record: HeadRecord) -> bytes:
        if record.version.site == SITE:
            raise UnicodeEncodeError("utf-8", "\udce9", 0, 1, "surrogates not allowed")
        return own(record)

    with monkeypatch.context() as patched:
        patched.setattr(HeadRecord, "encode", encode)
        a.replica.publish()
    assert nodes.paths.head(OTHER) in nodes.store.items
    assert nodes.paths.head(SITE) not in nodes.store.items
    assert SITE in caplog.text


def test_a_version_and_its_predecessor_that_are_too_large_together_go_up_without_it(
    nodes: Nodes, ca: CertificateAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes.settle()
    a = nodes["edge-a"]
    a.add(SITE)
    for _ in range(2):
        a.install(SITE, ca.issue(SITE))
    head = len(a.replica.local.head(SITE).encode())  # type: ignore[union-attr]
    monkeypatch.setattr("certstore.cluster.publisher._BYTES_AT_ONCE", head + 4096)
    a.replica.publish()
    assert nodes.paths.head(SITE) in nodes.store.items
    assert nodes.paths.prev(SITE) not in nodes.store.items


def test_settings_that_the_engine_cannot_take_hold_up_no_other(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    nodes.settle()
    a = nodes["edge-a"]
    a.add(SITE, *(f"{'n' * 60}{number}.{SITE}" for number in range(90)))
    a.add(OTHER)
    monkeypatch.setattr("certstore.cluster.publisher._RECORD_BYTES", 4096)
    a.replica.publish()
    assert nodes.paths.site(OTHER) in nodes.store.items
    assert nodes.paths.site(SITE) not in nodes.store.items
    assert "too large" in caplog.text
