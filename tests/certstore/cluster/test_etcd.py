"""The contract on a real etcd of three members with TLS, and on one that asks for a sign-in; a full one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from certstore.cluster.access import AccessUnusable, all_members
from certstore.cluster.engine import Committed, Delete, Engine, EngineFull, EngineLost, EngineRefused, ModifiedAt, Put
from certstore.cluster.engine_files import AUTHORITY_KEY
from certstore.cluster.etcd import EtcdMember
from certstore.cluster.etcd_gateway import Login, engine_context
from certstore.model.settings.cluster import ClusterSettings
from tests.certstore.cluster.engine_contract import LONG, EngineContract, collected, written
from tests.deadlines import wait_for
from tests.peers.etcd import Etcd

ROOT = ("--user", "root:correct-horse")


def member_of(etcd: Etcd, login: Login | None = None) -> EtcdMember:
    return EtcdMember(etcd.endpoints[0], engine_context(etcd.ca_file, etcd.client_cert), login)


class OnEtcd(EngineContract):
    @pytest.fixture
    def after_ttl(self) -> Callable[[Callable[[], bool]], None]:
        def wait(condition: Callable[[], bool]) -> None:
            wait_for(condition, "the lease ended", pause=0.2)

        return wait


class TestThreeMembers(OnEtcd):
    @pytest.fixture
    def engine(self, etcd: Etcd) -> Iterator[Engine]:
        engine = member_of(etcd)
        yield engine
        engine.close()

    @pytest.fixture
    def compact(self, etcd: Etcd) -> Callable[[], None]:
        return etcd.compact

    def test_a_reading_of_pages_goes_on_over_a_compaction(self, engine: Engine, prefix: str, etcd: Etcd) -> None:
        for start in range(0, 600, 100):
            written(engine, *(Put(f"{prefix}{number:04}", b"x") for number in range(start, start + 100)))
        etcd.compact()
        assert len(engine.read(prefix).items) == 600

    def test_a_key_that_is_no_text_keeps_nobody_from_the_others(self, engine: Engine, prefix: str) -> None:
        """Whoever shares the engine may write one."""
        odd, plain = f"{prefix}\udcff", f"{prefix}plain"
        before = engine.read(prefix).revision
        written(engine, Put(odd, b"x"))
        written(engine, Put(plain, b"y"))
        assert {item.key for item in engine.read(prefix).items} == {odd, plain}
        with engine.follow(prefix, before) as feed:
            assert [item.key for batch in collected(feed, lambda found: len(found) == 2) for item in batch.put] == [
                odd,
                plain,
            ]
        written(engine, Delete(odd))
        assert [item.key for item in engine.read(prefix).items] == [plain]


# --- sign-in ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def guarded() -> Iterator[Etcd]:
    """One member whose users may do what their role says: edge-a everything below /certedge/."""
    with Etcd(1) as etcd:
        for words in (
            ("role", "add", "edge"),
            ("role", "grant-permission", "edge", "--prefix=true", "readwrite", "/certedge/"),
            ("user", "add", "root:correct-horse"),
            ("user", "grant-role", "root", "root"),
            ("user", "add", "edge-a:battery-staple"),
            ("user", "grant-role", "edge-a", "edge"),
            ("auth", "enable"),
        ):
            etcd.control(*words)
        yield etcd


@pytest.fixture
def login(tmp_path: Path) -> Login:
    (tmp_path / "password").write_text("battery-staple\n", encoding="utf-8")
    return Login("edge-a", tmp_path / "password")


class TestSignedIn(OnEtcd):
    @pytest.fixture
    def engine(self, guarded: Etcd, login: Login) -> Iterator[Engine]:
        engine = member_of(guarded, login)
        yield engine
        engine.close()

    @pytest.fixture
    def compact(self, guarded: Etcd, engine: Engine) -> Callable[[], None]:
        def compact() -> None:
            guarded.control(*ROOT, "compact", str(engine.status().revision))

        return compact

    def test_a_forgotten_sign_in_is_done_again(self, engine: Engine, guarded: Etcd, prefix: str) -> None:
        written(engine, Put(prefix + "a", b"x"))
        (member,) = guarded.members
        member.kill()
        member.start()
        wait_for(guarded.endpoints_that_answer, "the member answers")
        start = wait_for(lambda: reading_revision(engine, prefix), "it reads")
        with engine.follow(prefix, start) as feed:
            written(engine, Put(prefix + "b", b"x"))
            collected(feed, lambda got: len(got) == 1)

    def test_what_the_role_does_not_allow_is_refused(self, engine: Engine) -> None:
        with pytest.raises(EngineRefused, match="permission denied"):
            engine.read("/registry/")
        with pytest.raises(EngineRefused, match="permission denied"):
            engine.follow("/registry/", 0)
        with pytest.raises(EngineRefused, match="permission denied"):
            engine.commit([ModifiedAt("/registry/a", 0)], [Put("/registry/a", b"x")])


def reading_revision(engine: Engine, prefix: str) -> int:
    try:
        return engine.read(prefix).revision
    except EngineLost:
        return 0


def test_a_wrong_password_is_refused_and_not_repeated_in_the_message(guarded: Etcd, login: Login) -> None:
    login.password_file.write_text("correct-battery", encoding="utf-8")
    with pytest.raises(EngineRefused, match="sign in as edge-a: authentication failed") as caught:
        member_of(guarded, login).read("/certedge/")
    assert "correct-battery" not in str(caught.value)


def test_a_password_file_that_is_missing_is_named(guarded: Etcd, login: Login) -> None:
    login.password_file.unlink()
    with pytest.raises(EngineRefused, match=r"cluster\.password_file: No such file"):
        member_of(guarded, login).read("/certedge/")


def test_an_engine_that_asks_for_a_sign_in_says_so_to_who_has_none(guarded: Etcd) -> None:
    with pytest.raises(EngineRefused, match="permission denied"):
        member_of(guarded).read("/certedge/")


def test_a_node_may_have_its_password_before_there_are_users(etcd: Etcd, login: Login) -> None:
    """So all nodes can be given theirs before access control is switched on."""
    key, member = "/certedge/early", member_of(etcd, login)
    there = member.read(key)
    with member.follow(key, there.revision) as feed:
        compares = [ModifiedAt(key, there.items[0].modified if there.items else 0)]
        assert isinstance(member.commit(compares, [Put(key, b"x")]), Committed)
        batches = collected(feed, lambda found: any(batch.put for batch in found))
    assert [item.key for batch in batches for item in batch.put] == [key]
    member.close()


def test_a_client_certificate_with_a_common_name_is_explained(guarded: Etcd, login: Login, tmp_path: Path) -> None:
    path = with_common_name(guarded.ca_file, tmp_path)
    member = EtcdMember(guarded.endpoints[0], engine_context(guarded.ca_file, path), login)
    with pytest.raises(EngineRefused, match="the client certificate has a CommonName"):
        member.read("/certedge/")


def with_common_name(ca_file: Path, folder: Path) -> Path:
    signer = serialization.load_pem_private_key((ca_file.parent / AUTHORITY_KEY).read_bytes(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    issuer = x509.load_pem_x509_certificate(ca_file.read_bytes())
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "edge-a")]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .sign(signer, hashes.SHA256())
    )
    key_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "named.pem"
    path.write_bytes(key_pem + certificate.public_bytes(serialization.Encoding.PEM))
    return path


# --- the quota --------------------------------------------------------------------------------------------------------


def fill(engine: Engine) -> None:
    for number in range(1000):
        written(engine, Put(f"/certedge/{number}", b"x" * 200_000))


def test_a_full_engine_says_so_and_still_keeps_leases_and_deletes() -> None:
    with Etcd(1, QUOTA_BACKEND_BYTES=str(4 << 20)) as etcd:
        engine = member_of(etcd)
        lease = engine.grant(LONG)
        with pytest.raises(EngineFull, match="database space exceeded"):
            fill(engine)
        wait_for(lambda: engine.status().alarms == ("NOSPACE",), "the alarm")
        with pytest.raises(EngineFull):
            engine.grant(LONG)
        assert engine.keep(lease) == LONG
        written(engine, Delete("/certedge/0"))
        assert "/certedge/0" not in engine.read("/certedge/", keys_only=True).by_key()
        engine.close()


# --- who may speak for the engine -------------------------------------------------------------------------------------


def test_members_are_made_of_the_settings(etcd: Etcd) -> None:
    settings = ClusterSettings(
        engine=etcd.endpoints, ca_file=Path(etcd.ca_file.name), client_cert=etcd.client_cert, node="edge-a"
    )
    members = all_members(settings, etcd.ca_file.parent)
    assert [member.endpoint for member in members] == list(etcd.endpoints)
    assert len({member.status().member for member in members}) == 3


@pytest.mark.parametrize("missing", ["ca_file", "client_cert"])
def test_a_file_that_can_not_be_used_is_named(etcd: Etcd, missing: str, tmp_path: Path) -> None:
    files = {"ca_file": etcd.ca_file, "client_cert": etcd.client_cert, missing: tmp_path / "none"}
    settings = ClusterSettings(engine=etcd.endpoints, **files)
    with pytest.raises(AccessUnusable, match="No such file"):
        all_members(settings, Path("/"))


def test_without_a_client_certificate_nothing_is_read(etcd: Etcd) -> None:
    member = EtcdMember(etcd.endpoints[0], engine_context(etcd.ca_file, None))
    with pytest.raises(EngineLost):
        member.read("/certedge/")
