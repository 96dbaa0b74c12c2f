"""What changed here is published by conditional transactions, and never blindly again."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from certstore.cluster.engine import Committed, CreatedAt, Delete, EngineFull, EngineLost, ModifiedAt, Put
from certstore.model.certificate.dropped_file import DroppedFile
from certstore.model.cluster.paths import Shelf
from certstore.model.cluster.records import HeadRecord, decode_seq
from certstore.model.record import Outcome
from certstore.model.version import Version
from certstore.store.activation import CAME_LATE
from certstore.store.adoption import Declaration
from certstore.store.writer import IntakeResult, UnknownSite
from tests.certificates import CertificateAuthority, Issued
from tests.certstore.cluster.memory_engine import MemoryEngine
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


# Ordered certificates


def lock(nodes: Nodes, name: str) -> CreatedAt:
    """As the node takes the lock of the site; who had it loses it."""
    key, engine = nodes.paths.lock(SITE), MemoryEngine(nodes.store)
    if (there := nodes.store.items.get(key)) is not None:
        engine.commit([ModifiedAt(key, there.modified)], [Delete(key)])
    taken = engine.commit([ModifiedAt(key, 0)], [Put(key, name.encode())])
    assert isinstance(taken, Committed)
    return CreatedAt(key, taken.revision)


def order(node: Node, issued: Issued, fence: CreatedAt) -> IntakeResult:
    files = [DroppedFile("fullchain.pem", issued.fullchain_pem), DroppedFile("privkey.pem", issued.privkey_pem)]

    def consent(version: Version) -> str | None:
        return node.replica.publish_order(version, fence)

    return node.writer.install_files(SITE, files, source="acme:ca", doing="renew", consent=consent)


def live(node: Node) -> str | None:
    certificate = node.writer.site(SITE).certificate
    return certificate.fingerprint if certificate is not None else None


@pytest.fixture
def ordering(nodes: Nodes, ca: CertificateAuthority) -> Nodes:
    nodes["edge-a"].add(SITE)
    nodes["edge-a"].install(SITE, ca.issue(SITE))
    nodes.settle()
    return nodes


def test_an_ordered_certificate_is_published_before_it_is_live(ordering: Nodes, ca: CertificateAuthority) -> None:
    a, b = ordering["edge-a"], ordering["edge-b"]
    before, issued = ordering.store.items[ordering.paths.head(SITE)], ca.issue(SITE)
    fence = lock(ordering, "edge-a")
    a.engine.commit([fence], [Put(ordering.paths.order(SITE), b"under way")])
    result = order(a, issued, fence)
    assert (result.outcome, live(a)) == (Outcome.DONE, issued.fingerprint)
    head = ordering.store.items[ordering.paths.head(SITE)]
    assert head.modified > before.modified
    assert ordering.paths.prev(SITE) in ordering.store.items
    assert ordering.paths.order(SITE) not in ordering.store.items, "the order has ended for all"
    ordering.settle()
    assert ordering.store.items[ordering.paths.head(SITE)] == head, "nothing is published twice"
    assert live(a) == live(b) == issued.fingerprint
    assert b.writer.live_version(SITE) == a.writer.live_version(SITE), "its source and its number too"


def test_what_a_node_ordered_before_it_was_paused_never_goes_live(ordering: Nodes, ca: CertificateAuthority) -> None:
    a, b = ordering["edge-a"], ordering["edge-b"]
    lost, mine = lock(ordering, "edge-a"), lock(ordering, "edge-b")
    winner = ca.issue(SITE)
    assert order(b, winner, mine).outcome is Outcome.DONE
    result = order(a, ca.issue(SITE), lost)
    assert result.reason == CAME_LATE
    assert "this node was away, so edge-b orders for the site" in result.message
    assert live(a) == winner.fingerprint, "the successor's, which it has seen by now"
    ordering.settle()
    assert live(a) == live(b) == winner.fingerprint
    assert all(record.version != result.version for record in a.writer.records(SITE) if record.outcome is Outcome.DONE)


def test_what_a_person_uploads_meanwhile_counts(ordering: Nodes, ca: CertificateAuthority) -> None:
    a, b = ordering["edge-a"], ordering["edge-b"]
    fence, uploaded = lock(ordering, "edge-a"), ca.issue(SITE)
    b.install(SITE, uploaded, source="upload")
    b.step()
    result = order(a, ca.issue(SITE), fence)
    assert result.reason == CAME_LATE
    assert "because a person chose it" in result.message
    ordering.settle()
    assert live(a) == live(b) == uploaded.fingerprint


def test_settings_that_change_meanwhile_stop_no_order(ordering: Nodes, ca: CertificateAuthority) -> None:
    a, b = ordering["edge-a"], ordering["edge-b"]
    fence, issued = lock(ordering, "edge-a"), ca.issue(SITE)
    b.writer.set_site(SITE, {"inspect": True})
    b.step()
    assert order(a, issued, fence).outcome is Outcome.DONE
    ordering.settle()
    assert live(a) == live(b) == issued.fingerprint


def test_a_site_that_is_removed_meanwhile_stays_removed(ordering: Nodes, ca: CertificateAuthority) -> None:
    a, b = ordering["edge-a"], ordering["edge-b"]
    fence = lock(ordering, "edge-a")
    b.writer.remove_site(SITE)
    b.step()
    with pytest.raises(UnknownSite):
        order(a, ca.issue(SITE), fence)
    ordering.settle()
    assert a.is_removed(SITE)
    assert b.is_removed(SITE)


def test_a_kill_between_publishing_and_going_live_loses_nothing(ordering: Nodes, ca: CertificateAuthority) -> None:
    a, b = ordering["edge-a"], ordering["edge-b"]
    fence, issued = lock(ordering, "edge-a"), ca.issue(SITE)
    files = [DroppedFile("fullchain.pem", issued.fullchain_pem), DroppedFile("privkey.pem", issued.privkey_pem)]

    def consent(version: Version) -> str | None:
        a.replica.publish_order(version, fence)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        a.writer.install_files(SITE, files, source="acme:ca", doing="renew", consent=consent)
    assert live(a) != issued.fingerprint
    a.restart()
    a.replica.publish()
    ordering.settle()
    assert live(a) == live(b) == issued.fingerprint
    again = order(a, issued, lock(ordering, "edge-a"))
    assert (again.outcome, again.reason) == (Outcome.NOTED, "already_live")


def test_without_the_engine_an_ordered_certificate_waits(ordering: Nodes, ca: CertificateAuthority) -> None:
    a = ordering["edge-a"]
    before, issued, fence = live(a), ca.issue(SITE), lock(ordering, "edge-a")
    a.engine.faults.is_cut = True
    with pytest.raises(EngineLost):
        order(a, issued, fence)
    assert live(a) == before
    a.engine.faults.is_cut = False
    assert order(a, issued, fence).outcome is Outcome.DONE
    ordering.settle()
    assert live(ordering["edge-b"]) == issued.fingerprint
