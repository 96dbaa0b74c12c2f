"""What a front can do in a real etcd, and what a thief of its files can."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from certstore.cluster.engine import Delete, EngineRefused, Item, ModifiedAt, Put
from certstore.cluster.front_access import setup_script
from certstore.cluster.key_updates import KeyUpdates
from certstore.cluster.keys import ClusterKey, KeyRing, read_keys
from certstore.cluster.membership import Membership
from certstore.cluster.sealing import KeyRingSealer
from certstore.cluster.tokens import ClusterTokens
from certstore.control.commands.requests import JoinClusterRequest, RemoveCompromisedRequest, RotateKeyRequest
from certstore.control.protocol import RequestFailed
from certstore.model.certificate.dropped_file import DroppedFile
from certstore.model.cluster.paths import CLASSES, ClusterPaths, Shelf
from certstore.model.cluster.wire import RecordClass, Refusal, Refused
from certstore.model.settings.models import SiteSettings
from tests.certificates import CertificateAuthority
from tests.certstore.cluster.fronts import FRONT, FULL, Scene, a_front, a_full_node, run_setup
from tests.certstore.stores import SITE, acquire, served
from tests.deadlines import wait_for
from tests.peers.etcd import Etcd

pytestmark = pytest.mark.peer
CA = CertificateAuthority()
TOKEN = "t" * 43
SECRET = "anna@client-a.test https://ca.test/acct/4711"
PARTS = {
    Shelf.META: (), Shelf.SEQ: (), Shelf.CARETAKER: (), Shelf.ACME: (), Shelf.TOKEN: (TOKEN,),
    Shelf.COUNTER: ("ca", "x"), Shelf.ADMIN: ("users", "anna"), Shelf.SAID: (FULL, SITE), Shelf.KEY: ("0" * 8, FRONT),
    Shelf.INVITE: ("0" * 16,), Shelf.LIVE: (FULL,), Shelf.MEMBER: (FRONT,),
}  # fmt: skip


def path_of(paths: ClusterPaths, shelf: Shelf) -> str:
    return paths.of(shelf, *PARTS.get(shelf, ("x",)))


@pytest.fixture
def own_etcd() -> Iterator[Etcd]:
    """Its access control is switched on, so no other test can use it."""
    with Etcd(1) as running:
        yield running


def install(scene: Scene, node: str = FULL) -> str:
    issued = CA.issue(SITE)
    scene.writers[node].install_files(SITE, [DroppedFile("a.pem", issued.combined_pem)], source="upload")
    return issued.fingerprint


def test_a_front_that_may_only_read_follows_and_says_how_it_is(tmp_path: Path, own_etcd: Etcd) -> None:
    with a_front(tmp_path, own_etcd) as scene:
        invitations = scene.engine(FULL).read(ClusterPaths(scene.ring(FULL).cluster).shelf(Shelf.INVITE))
        assert not invitations.items, "the front has used its invitation up"
        with scene.running(FULL), scene.running(FRONT):
            membership = Membership(scene.engine(FULL), scene.ring(FULL))
            wait_for(lambda: FRONT in membership.view().lives, "the front says how it is")
            scene.full.add_site(SITE, SiteSettings(host=SITE))
            fingerprint = install(scene)
            wait_for(lambda: SITE in scene.front.sites(), "the front has the site")
            wait_for(lambda: served(scene.front.layout.root, SITE) == fingerprint, "the front has the certificate")


def test_a_thief_of_a_front_writes_nothing(tmp_path: Path, own_etcd: Etcd) -> None:
    with a_front(tmp_path, own_etcd) as scene:
        scene.full.add_site(SITE, SiteSettings(host=SITE))
        install(scene)
        paths = ClusterPaths(scene.ring(FULL).cluster)
        with scene.running(FULL):
            wait_for(lambda: scene.engine(FULL).get([paths.head(SITE)]).items, "the site is published")
        engine, before = scene.engine(FRONT), scene.engine(FULL).read(paths.prefix).items
        for shelf in Shelf:
            key = path_of(paths, shelf)
            with pytest.raises(EngineRefused):
                engine.commit([ModifiedAt(key, 0)], [Put(key, b"x")])
        for item in before:
            for op in (Delete(item.key), Put(item.key, item.value)):
                if item.key != paths.live(FRONT):
                    with pytest.raises(EngineRefused):
                        engine.commit([ModifiedAt(item.key, item.modified)], [op])
        assert scene.engine(FULL).read(paths.prefix).items == before
        for other in ("/certedge/", "/x"):
            with pytest.raises(EngineRefused):
                engine.read(other)


def stolen_ring(scene: Scene) -> KeyRing:
    """From a copy of the front's store, as a rogue process has it."""
    copy = scene.folder / "rogue"
    shutil.copytree(scene.front.layout.root, copy, symlinks=True)
    return read_keys(copy / "cluster/keys.json")


def test_a_thief_of_a_front_reads_no_account_user_or_order(tmp_path: Path, own_etcd: Etcd) -> None:
    with a_front(tmp_path, own_etcd) as scene:
        ring = scene.ring(FULL)
        paths, sealer, writing = ClusterPaths(ring.cluster), KeyRingSealer(ring), scene.engine(FULL)
        control = [shelf for shelf, record_class in CLASSES.items() if record_class is RecordClass.CONTROL]
        for shelf in control:
            key = path_of(paths, shelf)
            writing.commit([ModifiedAt(key, 0)], [Put(key, sealer.seal(key, 1, CLASSES[shelf], SECRET.encode()))])
        rogue = stolen_ring(scene)
        held = b"".join(path.read_bytes() for path in (scene.folder / "rogue").rglob("*") if path.is_file())
        assert not any(key.sign or key.seal_control for key in rogue.keys.values())
        items = {item.key: item for item in scene.engine(FRONT).read(paths.prefix).items}
        for shelf in control:
            item = items[path_of(paths, shelf)]
            with pytest.raises(Refused) as refused:
                KeyRingSealer(rogue).open(item.key, item.value)
            assert refused.value.why is Refusal.NOT_ALLOWED
            assert SECRET.encode() not in item.value
        for secret in ring.keys.values():
            for raw in (secret.sign, secret.seal_control):
                assert raw is not None
                assert raw not in held
                assert raw.hex().encode() not in held
        assert ring.sealing_key.seal_sites.hex().encode() in held, "what is searched would be found"


def test_a_thief_with_the_engine_too_plants_no_token(tmp_path: Path, own_etcd: Etcd) -> None:
    """Even where the engine let the front write: nobody believes what a front seals."""
    with a_front(tmp_path, own_etcd) as scene:
        rogue, cluster = stolen_ring(scene), scene.ring(FULL).cluster
        paths = ClusterPaths(cluster)
        key, facts = paths.of(Shelf.TOKEN, TOKEN), {"type": "http-01", "name": SITE, "authorization": f"{TOKEN}.thief"}
        with pytest.raises(Refused):
            KeyRingSealer(rogue).seal(key, 1, RecordClass.SITES, json.dumps(facts).encode())
        own = ClusterKey(rogue.current, rogue.sealing_key.seal_sites, b"", b"x" * 32, rogue.own.sign)
        forged = KeyRing(cluster, FRONT, rogue.role, rogue.current, {rogue.current: own}, rogue.own)
        value = KeyRingSealer(forged).seal(key, 1, RecordClass.SITES, json.dumps(facts).encode())
        tokens = ClusterTokens(
            scene.engine(FULL), KeyRingSealer(scene.ring(FULL)), paths, scene.full.layout, lambda _: []
        )
        tokens.read([Item(key, value, 1, 1)])
        assert TOKEN not in {path.name for path in scene.full.layout.challenges.rglob("*")}
        genuine = KeyRingSealer(scene.ring(FULL)).seal(key, 1, RecordClass.SITES, json.dumps(facts).encode())
        tokens.read([Item(key, genuine, 1, 1)])
        assert TOKEN in {path.name for path in scene.full.layout.challenges.rglob("*")}, "a full node's counts"


def test_a_front_gets_no_credential_that_writes(tmp_path: Path, own_etcd: Etcd) -> None:
    with a_full_node(tmp_path, own_etcd) as scene:
        with pytest.raises(RequestFailed, match="a front needs a credential for the engine of its own"):
            scene.invite()
        with pytest.raises(RequestFailed, match="a front needs a credential for the engine of its own"):
            scene.invite(client=own_etcd.client_cert.read_text())
        full = scene.sections[FULL]
        wide = scene.own_credential() | {
            "username": full["username"], "password": Path(full["password_file"]).read_text().strip()
        }  # fmt: skip
        with pytest.raises(RequestFailed, match=r"edge-f could write /certedge/.*/meta") as refused:
            scene.invite(**wide)
        assert "certedge cluster front-access edge-f" in str(refused.value)
        assert wide["password"] not in str(refused.value)
        with pytest.raises(RequestFailed, match="sign in as edge-f"):
            scene.invite(**scene.own_credential() | {"password": "wrong"})
        assert not list(scene.full.layout.temporary.iterdir()), "no password is left behind"


def test_another_front_gets_a_user_too(tmp_path: Path, own_etcd: Etcd) -> None:
    """And where access control is off, no credential is narrow enough."""
    with a_full_node(tmp_path, own_etcd) as scene:
        root = (tmp_path / "root").read_text().strip()
        own_etcd.control("--user", f"root:{root}", "auth", "disable")
        (tmp_path / "edge-g").write_text("another\n")
        run_setup(scene, setup_script(scene.ring(FULL).cluster, "edge-g", is_first=False))
        assert "edge-g" in own_etcd.control("user", "list")
        with pytest.raises(RequestFailed, match="could write"):
            scene.invite(**scene.own_credential())


def test_after_its_removal_as_compromised_a_thief_reads_nothing_new(tmp_path: Path, own_etcd: Etcd) -> None:
    """Though nobody has taken the front's credential for the engine away yet."""
    with a_front(tmp_path, own_etcd) as scene, scene.running(FULL):
        rogue, paths = stolen_ring(scene), ClusterPaths(scene.ring(FULL).cluster)
        engine = scene.engine(FRONT)
        scene.full.add_site(SITE, SiteSettings(host=SITE))
        install(scene)
        wait_for(lambda: engine.get([paths.head(SITE)]).items, "the site is published")
        item = engine.get([paths.head(SITE)]).items[0]
        assert KeyRingSealer(rogue).open(item.key, item.value).plaintext, "until then it reads what fronts read"
        request = RemoveCompromisedRequest(scene.sections[FULL], str(scene.folder), FRONT)
        result = scene.perform(FULL, request)
        assert "take the credential of edge-f for the engine away" in result.notes[0]
        before = engine.get([paths.head(SITE)]).items[0].modified
        fingerprint = install(scene)
        wait_for(lambda: engine.get([paths.head(SITE)]).items[0].modified > before, "the new certificate is published")
        wait_for(lambda: scene.full.exposed_before is not None, "the node knows which keys are exposed")
        sealed = [each for each in engine.read(paths.prefix).items if each.value.startswith(b"CE1")]
        assert paths.head(SITE) in {each.key for each in sealed}
        members = Membership(scene.engine(FULL), scene.ring(FULL)).view().members
        for each in sealed:
            with pytest.raises(Refused):
                KeyRingSealer(rogue).open(each.key, each.value)
            where = paths.parse(each.key)
            if where is not None and where.shelf is Shelf.LIVE and where.name in members:
                with pytest.raises(Refused):
                    KeyRingSealer(rogue).open_live(each.key, each.value, members[where.name].signing_key)
        items = [*engine.read(f"{paths.prefix}n/").items, *engine.get([paths.meta]).items]
        updates = KeyUpdates(KeyRingSealer(rogue), scene.folder / "rogue/cluster/keys.json")
        updates.read(items)
        assert updates.key_ids == (rogue.current,), "no copy of the new key is for it"
        assert served(scene.full.layout.root, SITE) == fingerprint


def test_a_front_that_runs_takes_a_new_key(tmp_path: Path, own_etcd: Etcd) -> None:
    with a_front(tmp_path, own_etcd) as scene, scene.running(FULL), scene.running(FRONT) as front:
        old = scene.ring(FULL).current
        wait_for(lambda: front.is_current, "the front is in step")
        scene.perform(FULL, RotateKeyRequest(scene.sections[FULL], str(scene.folder)))
        wait_for(lambda: scene.ring(FRONT).retired == (old,), "the front has dropped the old key")
        scene.full.add_site(SITE, SiteSettings(host=SITE))
        fingerprint = install(scene)
        wait_for(lambda: SITE in scene.front.sites(), "the front has the site")
        wait_for(lambda: served(scene.front.layout.root, SITE) == fingerprint, "and its certificate")


def test_a_front_whose_store_went_with_the_power_takes_everything_again(tmp_path: Path, own_etcd: Etcd) -> None:
    """Its store lay on a tmpfs; its key file did not."""
    with a_full_node(tmp_path, own_etcd) as scene:
        keys = tmp_path / "credential"
        scene.sections[FRONT]["key_file"] = str(keys)
        text = scene.invite(**scene.own_credential())
        scene.perform(FRONT, JoinClusterRequest(scene.sections[FRONT], str(tmp_path), text))
        scene.full.add_site(SITE, SiteSettings(host=SITE))
        fingerprint = install(scene)
        with scene.running(FULL):
            root = scene.front.layout.root
            scene.front.close()
            shutil.rmtree(root)
            scene.perform(FULL, RotateKeyRequest(scene.sections[FULL], str(tmp_path)))
            scene.writers[FRONT] = acquire(root)
            try:
                with scene.running(FRONT) as front:
                    assert front.standing().is_joining, "balancers send it nobody yet"
                    assert scene.front.front is not None, "its keys say that it is a front"
                    wait_for(lambda: SITE in scene.front.sites(), "it has the site", seconds=60)
                    wait_for(lambda: served(root, SITE) == fingerprint, "it serves what it served", seconds=60)
                    wait_for(lambda: front.is_current, "it is in step")
                    wait_for(lambda: not scene.front.layout.joining.exists(), "balancers hear of it")
            finally:
                scene.front.close()
