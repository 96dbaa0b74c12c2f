"""What engine-files makes. That a real etcd of three members runs with it, every test with `etcd` shows."""

from __future__ import annotations

import grp
import os
import stat
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from certstore.cluster.engine_files import BadMembers, Member, engine_files, parse_members
from tests.peers import require_peer

NOW = datetime(2026, 5, 1, tzinfo=UTC)
MEMBERS = (Member("edge-a", "10.0.0.11"), Member("edge-b", "2001:db8::12"), Member("witness", "10.0.0.13"))
FILES = engine_files(MEMBERS, ("edge-a", "edge-b"), "token-1", NOW)


def certificate(path: str) -> x509.Certificate:
    content = FILES[path]
    return x509.load_pem_x509_certificate(content[content.index(b"-----BEGIN CERTIFICATE") :])


LEAVES = [path for path in FILES if path.endswith(("member.pem", "/engine.pem"))]


def test_each_member_and_each_node_gets_its_files() -> None:
    assert sorted(FILES) == sorted(
        [
            "engine-ca.pem",
            "engine-ca-key.pem",
            *(
                f"members/{name}/{file}"
                for name in ("edge-a", "edge-b", "witness")
                for file in ("install", "etcd.default", "ca.pem", "member.pem", "member-key.pem")
            ),
            *(f"nodes/{name}/{file}" for name in ("edge-a", "edge-b") for file in ("engine-ca.pem", "engine.pem")),
        ]
    )


@pytest.mark.parametrize("path", LEAVES)
def test_no_certificate_has_a_common_name(path: str) -> None:
    assert not certificate(path).subject.get_attributes_for_oid(NameOID.COMMON_NAME)


@pytest.mark.parametrize("path", LEAVES)
def test_openssl_verifies_every_certificate_strictly(path: str, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(FILES["engine-ca.pem"])
    (tmp_path / "leaf.pem").write_bytes(FILES[path])
    words = ["verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", str(tmp_path / "ca.pem")]
    words += ["-attime", str(int(NOW.timestamp())), str(tmp_path / "leaf.pem")]
    ran = subprocess.run([require_peer("openssl"), *words], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_a_member_is_valid_for_its_address_and_for_its_own_machine() -> None:
    names = certificate("members/edge-b/member.pem").extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert [str(each) for each in names.value.get_values_for_type(x509.IPAddress)] == [
        "2001:db8::12",
        "127.0.0.1",
        "::1",
    ]


def test_settings_name_the_member_and_all_the_others() -> None:
    settings = FILES["members/edge-b/etcd.default"].decode().splitlines()
    assert 'ETCD_LISTEN_CLIENT_URLS="https://[2001:db8::12]:2379,https://127.0.0.1:2379"' in settings
    everyone = "edge-a=https://10.0.0.11:2380,edge-b=https://[2001:db8::12]:2380,witness=https://10.0.0.13:2380"
    assert f'ETCD_INITIAL_CLUSTER="{everyone}"' in settings
    assert 'ETCD_INITIAL_CLUSTER_TOKEN="token-1"' in settings
    assert 'ETCD_CLIENT_CERT_AUTH="true"' in settings


def test_the_script_puts_files_where_only_etcd_reads_keys(tmp_path: Path) -> None:
    require_peer("etcd")
    if os.geteuid() != 0:
        pytest.skip("the script gives files to etcd's group, which takes root")
    for path, content in FILES.items():
        if path.startswith("members/edge-a/"):
            (tmp_path / Path(path).name).write_bytes(content)
    root = tmp_path / "root"
    for _ in range(2):
        subprocess.run(["sh", "install"], cwd=tmp_path, env={**os.environ, "DESTDIR": str(root)}, check=True)
    key = (root / "etc/etcd/member-key.pem").stat()
    assert (key.st_uid, stat.S_IMODE(key.st_mode), key.st_gid) == (0, 0o640, grp.getgrnam("etcd").gr_gid)
    assert sorted(path.name for path in (root / "etc/default").iterdir()) == ["etcd", "etcd.~1~"]
    assert (root / "etc/default/etcd").read_bytes() == FILES["members/edge-a/etcd.default"]


def test_nothing_is_made_twice() -> None:
    again = engine_files(MEMBERS, ("edge-a",), "token-1", NOW)
    assert again["engine-ca-key.pem"] != FILES["engine-ca-key.pem"]


def test_members_are_read() -> None:
    assert parse_members("edge-a=10.0.0.11, edge-b=[2001:db8::12],witness=10.0.0.13") == MEMBERS
    assert parse_members("edge-a=10.0.0.11") == MEMBERS[:1]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected NAME=ADDRESS"),
        ("edge-a", "'edge-a': expected NAME=ADDRESS"),
        ("edge-a=edge-a.example", "expected NAME=ADDRESS"),
        ("../x=10.0.0.1", "expected NAME=ADDRESS"),
        ("a=10.0.0.1,a=10.0.0.2,b=10.0.0.3", "the same name or address"),
        ("a=10.0.0.1,b=10.0.0.1,c=10.0.0.3", "the same name or address"),
        ("a=10.0.0.1,b=10.0.0.2", "2 members: use 3 or 5"),
    ],
)
def test_members_that_can_form_no_engine_are_refused(text: str, said: str) -> None:
    with pytest.raises(BadMembers, match=said):
        parse_members(text)
