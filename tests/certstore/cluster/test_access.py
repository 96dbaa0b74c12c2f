"""How a command reaches the engine, on a real one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from certstore.cluster.access import AccessUnusable, ask_member, open_engine, read_access
from certstore.cluster.engine import EngineLost, EngineStatus
from certstore.model.settings.cluster import ClusterSettings
from tests.certificates import CertificateAuthority
from tests.peers.etcd import Etcd
from tests.ports import free_port


@pytest.fixture
def etcd() -> Iterator[Etcd]:
    """Its members are stopped here."""
    with Etcd() as running:
        yield running


def settings(etcd: Etcd, *before: str, **changes: object) -> ClusterSettings:
    facts = {"engine": (*before, *etcd.endpoints), "ca_file": etcd.ca_file, "client_cert": etcd.client_cert}
    return ClusterSettings.model_validate(facts | changes)


def test_the_first_member_that_works_is_used(etcd: Etcd, tmp_path: Path) -> None:
    nobody = f"https://127.0.0.1:{free_port()}"
    engine = open_engine(settings(etcd, nobody), tmp_path)
    assert engine.endpoint == etcd.endpoints[0]
    engine.close()
    etcd.members[0].kill()
    engine = open_engine(settings(etcd, nobody), tmp_path)
    assert engine.endpoint in etcd.endpoints[1:]
    engine.close()
    assert isinstance(ask_member(settings(etcd), tmp_path, etcd.endpoints[0]), str)
    assert isinstance(ask_member(settings(etcd), tmp_path, etcd.endpoints[1]), EngineStatus)
    etcd.stop()
    with pytest.raises(EngineLost) as lost:
        open_engine(settings(etcd, nobody), tmp_path)
    for endpoint in (nobody, *etcd.endpoints):
        assert endpoint.removeprefix("https://") in str(lost.value), "each is named"


def test_an_engine_of_another_authority_is_not_trusted(etcd: Etcd, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(CertificateAuthority().root_pem)
    with pytest.raises(EngineLost, match=r"(?i)certificate"):
        open_engine(settings(etcd, ca_file="ca.pem"), tmp_path)


@pytest.mark.parametrize("name", ["ca_file", "client_cert"])
def test_a_file_that_can_not_be_used_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "ca.pem").write_bytes(CertificateAuthority().root_pem)
    (tmp_path / "bad.pem").write_text("no certificate")
    facts = {"engine": ["https://127.0.0.1:1"], "ca_file": "ca.pem", "client_cert": "bad.pem"}
    for content in ("bad.pem", "missing.pem"):
        with pytest.raises(AccessUnusable, match=content):
            open_engine(ClusterSettings.model_validate(facts | {name: content}), tmp_path)


def test_an_invitation_carries_what_leads_to_the_engine(tmp_path: Path) -> None:
    for name, content in (("ca.pem", "authority"), ("client.pem", "client"), ("password", "correct horse\n")):
        (tmp_path / name).write_text(content)
    facts = {"engine": ["https://10.0.0.11"], "ca_file": "ca.pem"}
    by_certificate = read_access(ClusterSettings.model_validate(facts | {"client_cert": "client.pem"}), tmp_path)
    assert by_certificate.endpoints == ("https://10.0.0.11:2379",)
    assert (by_certificate.ca_pem, by_certificate.client_pem, by_certificate.password) == ("authority", "client", None)
    login = {"username": "certedge", "password_file": "password"}
    by_password = read_access(ClusterSettings.model_validate(facts | login), tmp_path)
    assert (by_password.client_pem, by_password.username, by_password.password) == (None, "certedge", "correct horse")


def test_a_file_for_an_invitation_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    facts = {"engine": ["https://10.0.0.11"], "ca_file": "ca.pem", "client_cert": "client.pem"}
    settings = ClusterSettings.model_validate(facts)
    with pytest.raises(AccessUnusable, match=r"ca\.pem can't be read"):
        read_access(settings, tmp_path)
    (tmp_path / "ca.pem").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(AccessUnusable, match="not a text"):
        read_access(settings, tmp_path)
    (tmp_path / "ca.pem").write_bytes(b"x" * 200_000)
    with pytest.raises(AccessUnusable, match="more than"):
        read_access(settings, tmp_path)
