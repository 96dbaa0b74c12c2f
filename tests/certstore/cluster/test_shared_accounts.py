"""All nodes of a cluster have one account at each CA."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from certstore.acme import keys
from certstore.acme.account import Account, AccountSettings
from certstore.acme.network import Conversation, OrderFailed
from certstore.cluster.engine import EngineLost, ModifiedAt, Put, Reading
from certstore.cluster.keys import ClusterKey
from certstore.cluster.shared_accounts import SharedAccounts
from certstore.files.atomic import make_folder
from certstore.model.cluster.paths import Shelf
from certstore.model.layout import Layout
from certstore.model.renewal.ca import Ca, find_ca
from certstore.model.renewal.failure import Cause
from tests.certstore.acme.workshop import make_layout
from tests.certstore.cluster.leased import PATHS, LockingNode
from tests.certstore.cluster.memory_engine import MemoryStore
from tests.peers.pebble import Pebble
from tests.ports import free_port

CA = find_ca("https://ca.test/directory")
CONTACT = ("admin@example.org",)


class Node(LockingNode):
    def __init__(self, store: MemoryStore, folder: Path, name: str) -> None:
        super().__init__(store, name)
        (folder / name).mkdir()
        self.layout: Layout = make_layout(folder / name)
        self.accounts = SharedAccounts(self.layout, self.session, self.sealer, PATHS, self.locks, wait_seconds=0.3)

    def adopt(self, number: int) -> None:
        pem = keys.to_pem(keys.make_key("ec256"))
        self.accounts.adopt(CA, pem, f"https://ca.test/account/{number}", CONTACT)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def nodes(store: MemoryStore, tmp_path: Path) -> tuple[Node, Node]:
    return Node(store, tmp_path, "edge-a"), Node(store, tmp_path, "edge-b")


def used(node: Node, ca: Ca = CA) -> Account:
    """What an order of this node would use, where nothing has to be asked of the CA."""
    return node.accounts.ensure(ca, None, AccountSettings())  # type: ignore[arg-type]


def test_the_account_of_one_is_that_of_all(nodes: tuple[Node, Node], store: MemoryStore) -> None:
    a, b = nodes
    a.adopt(1)
    assert used(b).url == "https://ca.test/account/1"
    assert used(b).key_authorization("t") == used(a).key_authorization("t")
    value = store.items[PATHS.of(Shelf.ACCOUNT, CA.key)].value
    assert b"PRIVATE" not in value
    assert b"ca.test" not in value
    assert b.layout.account_key(CA.key).stat().st_mode & 0o777 == 0o600


def test_a_node_that_never_ordered_has_it_when_the_engine_is_lost(nodes: tuple[Node, Node], store: MemoryStore) -> None:
    a, b = nodes
    a.adopt(1)
    b.accounts.read(store.items.values())
    b.session.faults.is_cut = True
    assert used(b).url == "https://ca.test/account/1"


def test_an_account_that_is_being_changed_here_is_not_read_over(nodes: tuple[Node, Node], store: MemoryStore) -> None:
    a, b = nodes
    a.adopt(1)
    with b.accounts._changing:
        b.accounts.read(store.items.values())
    assert b.accounts.load(CA) is None
    assert used(b).url == "https://ca.test/account/1"


def test_an_account_from_before_the_cluster_is_given_to_the_others(nodes: tuple[Node, Node]) -> None:
    a, b = nodes
    a.session.faults.is_cut = True
    a.adopt(1)
    assert used(a).url == "https://ca.test/account/1", "without the engine, it is used as it is"
    a.session.faults.is_cut = False
    used(a)
    assert used(b).url == "https://ca.test/account/1"


def test_of_two_accounts_the_clusters_counts_and_the_other_key_is_kept(nodes: tuple[Node, Node]) -> None:
    a, b = nodes
    a.adopt(1)
    b.session.faults.is_cut = True
    b.adopt(2)
    own = b.layout.account_key(CA.key).read_bytes()
    b.session.faults.is_cut = False
    assert used(b).url == "https://ca.test/account/1"
    assert b.layout.replaced_account_key(CA.key).read_bytes() == own
    assert used(a).url == "https://ca.test/account/1"


def test_a_change_waits_for_the_node_that_makes_one(nodes: tuple[Node, Node]) -> None:
    a, b = nodes
    a.locks.take(f"@{CA.key}")
    with pytest.raises(OrderFailed, match="edge-a is changing") as failed:
        used(b)
    assert failed.value.failure.cause is Cause.CLUSTER
    a.locks.release(f"@{CA.key}")
    b.adopt(1)
    assert used(a).url == "https://ca.test/account/1"


def test_a_record_that_was_planted_does_not_count(nodes: tuple[Node, Node], store: MemoryStore) -> None:
    a, b = nodes
    a.adopt(1)
    key = PATHS.of(Shelf.ACCOUNT, CA.key)
    item = store.items[key]
    b.session.commit([ModifiedAt(key, item.modified)], [Put(key, item.value[:-1] + bytes([item.value[-1] ^ 1]))])
    assert b.accounts.load(CA) is None
    b.adopt(2)
    assert b.accounts.load(CA) is not None
    assert used(a).url == "https://ca.test/account/2"


def test_an_engine_that_went_back_brings_no_old_key_back(nodes: tuple[Node, Node], store: MemoryStore) -> None:
    """The CA takes the new key only, and no node would have it any more."""
    a, b = nodes
    a.adopt(1)
    used(b)
    before = store.snapshot()
    a.adopt(1)
    newest = used(b).key_authorization("t")
    store.restore(before)
    for node in nodes:
        node.come_back()
        node.accounts.read(store.items.values())
    assert used(b).key_authorization("t") == newest
    assert used(a).key_authorization("t") == newest
    again = SharedAccounts(b.layout, b.session, b.sealer, PATHS, b.locks)
    again.read(before.items.values())
    assert used(b).key_authorization("t") == newest, "nor after a start"


def test_the_lock_is_let_go_where_the_engine_goes_away_meanwhile(
    nodes: tuple[Node, Node], store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No other node could register or change the account as long as this one lives."""
    a, b = nodes
    answers, get = iter([True, False]), a.session.get

    def get_once(keys: Sequence[str]) -> Reading:
        if not next(answers, True):
            raise EngineLost("away")
        return get(keys)

    monkeypatch.setattr(a.session, "get", get_once)
    a.adopt(1)
    assert PATHS.lock(f"@{CA.key}") not in store.items
    b.adopt(2)
    assert used(a).url == "https://ca.test/account/2"


def test_what_was_seen_in_another_cluster_does_not_count(nodes: tuple[Node, Node]) -> None:
    a, b = nodes
    b.adopt(2)
    make_folder(a.layout.account(CA.key), 0o700)
    a.layout.account_generation(CA.key).write_text(f"{'0' * 16} 7\n")
    assert used(a).url == "https://ca.test/account/2"


def test_an_account_that_only_others_can_read_is_not_written_over(nodes: tuple[Node, Node], store: MemoryStore) -> None:
    """The key was changed while this node was paused."""
    a, b = nodes
    a.adopt(1)
    used(b)
    key = ClusterKey.draw()
    a.sealer.use(a.sealer.ring.with_key(key).sealing_with(key.key_id))
    a.adopt(2)
    assert used(b).url == "https://ca.test/account/1"
    assert used(a).url == "https://ca.test/account/2"
    b.sealer.use(b.sealer.ring.with_key(key).sealing_with(key.key_id))
    assert used(b).url == "https://ca.test/account/2"


@pytest.fixture(scope="module")
def pebble() -> Iterator[Pebble]:
    with Pebble(free_port()) as pebble:
        yield pebble


@pytest.mark.peer
@pytest.mark.slow
def test_nodes_that_register_at_once_register_one_account(store: MemoryStore, tmp_path: Path, pebble: Pebble) -> None:
    nodes = [Node(store, tmp_path, name) for name in ("edge-a", "edge-b", "edge-c")]
    ca, found = find_ca(pebble.directory), []
    settings = AccountSettings(CONTACT, agrees_to_terms=True)

    def register(node: Node) -> None:
        accounts = SharedAccounts(node.layout, node.session, node.sealer, PATHS, node.locks)
        with closing(Conversation.begin(ca.url, ca_file=pebble.ca_file)) as conversation:
            found.append(accounts.ensure(ca, conversation, settings).url)

    threads = [threading.Thread(target=register, args=(node,)) for node in nodes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    assert len(set(found)) == 1
    assert pebble.accounts() == 1
