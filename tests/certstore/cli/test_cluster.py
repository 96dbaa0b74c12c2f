"""`certedge cluster …` as administrators run it, over a real etcd: two folders stand for two machines."""

import base64
import os
import re
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from certstore.model.layout import Layout
from certstore.model.settings.loading import parse_settings
from tests.certificates import CertificateAuthority
from tests.certstore.cli.command import Ran, add_site, certedge, install, open_folder, write_edge
from tests.peers.etcd import Etcd

HOST = "webmail.client-a.test"
REMARK = "# the administrator's own remark\n"


@pytest.fixture(scope="module")
def etcd() -> Iterator[Etcd]:
    with Etcd(1) as running:
        yield running


def machine(folder: Path) -> Path:
    folder.mkdir()
    write_edge(folder)
    with (folder / "edge.yaml").open("a") as file:
        file.write(REMARK)
    return folder


@pytest.fixture
def first(tmp_path: Path) -> Path:
    return machine(tmp_path / "a")


@pytest.fixture
def second(tmp_path: Path) -> Path:
    return machine(tmp_path / "b")


def init(folder: Path, etcd: Etcd, *options: str) -> Ran:
    words = ("--engine", etcd.endpoints[0], "--ca-file", str(etcd.ca_file), "--client-cert", str(etcd.client_cert))
    return certedge(folder, "cluster", "init", *words, "--node", "edge-a", *options)


def invitation(folder: Path, node: str = "edge-b", *options: str) -> bytes:
    ran = certedge(folder, "cluster", "invite", node, *options)
    assert ran.code == 0, ran.err
    return ran.out.encode()


def section(folder: Path) -> dict[str, object]:
    found: dict[str, object] = yaml.safe_load((folder / "edge.yaml").read_text()).get("cluster")
    return found


def secrets_in(invited: bytes) -> list[str]:
    """The one-time key and the lines of the client's key that an invitation holds."""
    body = base64.b64decode("".join(invited.decode().partition("\n\n")[2].splitlines()[:-1])).decode()
    key = re.search(r'"key":"([0-9a-f]{64})"', body)
    assert key is not None
    lines = re.findall(r"[A-Za-z0-9+/=]{60,}", body.partition('"client":')[2])
    assert lines
    return [key.group(1), *lines]


def test_two_machines_become_one_cluster(first: Path, second: Path, etcd: Etcd) -> None:
    founded = init(first, etcd)
    assert founded.code == 0, founded.err
    assert "edge-a is the first node of cluster" in founded.out
    assert "next: start: certedge run" in founded.out
    assert (first / "edge.yaml").read_text().startswith(f"store: store\n{REMARK}")
    assert parse_settings((first / "edge.yaml").read_text(), "edge.yaml").cluster is not None
    invited = invitation(first)
    joined = certedge(second, "cluster", "join", "-", given=invited)
    assert (joined.code, joined.err) == (0, "")
    assert "edge-b is a member of cluster" in joined.out
    assert section(second) == {
        "node": "edge-b",
        "engine": [etcd.endpoints[0]],
        "ca_file": "cluster/engine-ca.pem",
        "client_cert": "cluster/engine.pem",
    }
    keys = [path for path in (second / "cluster").iterdir() if path.name != "engine-ca.pem"]
    for path in (*keys, Layout(second / "store").cluster_keys, Layout(first / "store").cluster_keys):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    for secret in secrets_in(invited):
        assert secret not in joined.out + joined.err
    status = certedge(second, "cluster", "status", "--json")
    assert [(each["name"], each["state"]) for each in status.json["nodes"]] == [("edge-a", "gone"), ("edge-b", "gone")]
    assert status.code == 3, "no service runs on either"
    table = certedge(first, "cluster", "status").out
    assert "2 nodes, edge-a, edge-b gone" in table
    assert "edge-a (this one)" in table
    assert f"{etcd.endpoints[0]} (leader)" in table
    again = certedge(second, "cluster", "join", "-", given=invited)
    assert again.code == 0, "the same join once more finds that it is done"
    left = certedge(second, "cluster", "leave", "--json")
    assert (left.code, left.json["node"], left.json["edge_yaml_changed"]) == (0, "edge-b", True)
    assert (second / "edge.yaml").read_text() == f"store: store\n{REMARK}"
    assert certedge(first, "cluster", "leave").code == 1
    last = certedge(first, "cluster", "leave", "--last")
    assert last.code == 0, last.err
    assert "records deleted from the engine" in last.out
    assert (first / "edge.yaml").read_text() == f"store: store\n{REMARK}"
    assert etcd.control("get", "--prefix", f"/certedge/{status.json['cluster']}/", "--keys-only").strip() == ""


def test_a_section_that_is_there_already_is_used(first: Path, etcd: Etcd) -> None:
    named = {
        "engine": list(etcd.endpoints), "ca_file": str(etcd.ca_file), "client_cert": str(etcd.client_cert),
        "node": "edge-q",
    }  # fmt: skip
    with (first / "edge.yaml").open("a") as file:
        file.write(yaml.safe_dump({"cluster": named}))
    before = (first / "edge.yaml").read_text()
    assert init(first, etcd).code == 2, "with options, which of the two would count?"
    ran = certedge(first, "cluster", "init", "--json")
    assert (ran.code, ran.json["node"], ran.json["edge_yaml_changed"]) == (0, "edge-q", False)
    assert (first / "edge.yaml").read_text() == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        pytest.param((), "--engine", id="no engine"),
        pytest.param(("--engine", "http://10.0.0.11"), "expected https://", id="an engine without TLS"),
        pytest.param(("--engine", "https://10.0.0.11"), "--ca-file", id="no authority"),
        pytest.param(("--engine", "https://10.0.0.11", "--ca-file", "ca.pem"), "client_cert", id="no certificate"),
        pytest.param(
            ("--engine", "https://10.0.0.11", "--ca-file", "a", "--client-cert", "b", "--node", "a_b"),
            "--node",
            id="a name that can't be one",
        ),
        pytest.param(
            ("--engine", "https://127.0.0.1", "--ca-file", "a.pem", "--client-cert", "b.pem"), "a.pem", id="no file"
        ),
    ],
)
def test_options_that_can_not_be_used_change_nothing(first: Path, options: tuple[str, ...], words: str) -> None:
    before = (first / "edge.yaml").read_text()
    ran = certedge(first, "cluster", "init", *options)
    assert ran.code == 2
    assert words in ran.err
    assert (first / "edge.yaml").read_text() == before
    assert not Layout(first / "store").cluster_keys.exists()


@pytest.mark.parametrize(
    "words",
    [("invite", "edge-b"), ("status",), ("leave",), ("remove", "edge-b"), ("rebuild",)],
    ids=lambda words: words[0],
)
def test_a_node_that_is_alone_is_told_how_a_cluster_begins(first: Path, words: tuple[str, ...]) -> None:
    ran = certedge(first, "cluster", *words)
    assert ran.code == 2
    assert "this node is alone" in ran.err
    assert "certedge cluster init" in ran.err


def test_a_person_asks_for_an_emptied_engine_to_be_filled_again(first: Path, etcd: Etcd) -> None:
    """The service does it, as soon as it runs."""
    init(first, etcd)
    ran = certedge(first, "cluster", "rebuild")
    assert ran.code == 0, ran.err
    assert "edge-a fills the engine again" in ran.out
    assert Layout(first / "store").cluster_rebuild.exists()


def test_a_joiner_with_other_sites_is_refused_and_stays_as_it_was(first: Path, second: Path, etcd: Etcd) -> None:
    init(first, etcd)
    add_site(second, HOST)
    install(second, HOST, CertificateAuthority().issue(HOST))
    invited, before = invitation(first), (second / "edge.yaml").read_text()
    refused = certedge(second, "cluster", "join", "-", given=invited)
    assert refused.code == 1
    assert HOST in refused.err
    assert "--merge" in refused.err
    assert (second / "edge.yaml").read_text() == before
    assert not (second / "cluster").exists()
    assert not Layout(second / "store").cluster_keys.exists()
    assert certedge(second, "cluster", "join", "-", "--merge", given=invited).code == 0


@pytest.mark.parametrize(
    ("given", "words"),
    [
        pytest.param(b"", "there is no line", id="nothing, as where invite failed"),
        pytest.param(b"\xff\x00" * 1000, "there is no line", id="noise"),
        pytest.param(b"-----BEGIN CERTEDGE INVITATION-----\n", "cut off", id="cut off"),
    ],
)
def test_what_is_not_an_invitation_is_refused(second: Path, given: bytes, words: str) -> None:
    ran = certedge(second, "cluster", "join", "-", given=given)
    assert ran.code == 2
    assert words in ran.err


def test_an_invitation_in_a_file_works_and_one_in_an_argument_is_not_repeated(
    first: Path, second: Path, etcd: Etcd, tmp_path: Path
) -> None:
    init(first, etcd)
    invited = invitation(first)
    pasted = certedge(second, "cluster", "join", invited.decode())
    assert pasted.code == 2
    for secret in secrets_in(invited):
        assert secret[:40] not in pasted.err
    (tmp_path / "invitation").write_bytes(invited)
    assert certedge(second, "cluster", "join", str(tmp_path / "invitation")).code == 0
    assert certedge(second, "cluster", "join", str(tmp_path / "nothing")).code == 2


def test_files_of_another_engine_are_not_overwritten(first: Path, second: Path, etcd: Etcd) -> None:
    init(first, etcd)
    invited = invitation(first)
    (second / "cluster").mkdir()
    (second / "cluster/engine.pem").write_text("of another engine")
    ran = certedge(second, "cluster", "join", "-", given=invited)
    assert ran.code == 1
    assert "engine.pem is there already" in ran.err
    assert (second / "cluster/engine.pem").read_text() == "of another engine"
    assert not (second / "cluster/engine-ca.pem").exists(), "what was written before is taken back"


def test_an_edge_yaml_that_can_not_be_changed_is_left_and_the_lines_are_shown(first: Path, etcd: Etcd) -> None:
    (first / "edge.yaml").rename(first / "managed.yaml")
    (first / "edge.yaml").symlink_to("managed.yaml")
    before = (first / "managed.yaml").read_text()
    ran = init(first, etcd)
    assert ran.code == 0, ran.err
    assert "can't be changed (it is a link): add these lines to it" in ran.out
    shown = ran.out.partition("cluster:\n")[2].partition("next:")[0]
    (first / "managed.yaml").write_text(f"{before}cluster:\n{shown}")
    assert certedge(first, "cluster", "status").code == 3
    left = certedge(first, "cluster", "leave", "--last")
    assert left.code == 0, left.err
    assert "take its section `cluster:` out" in left.out


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_root_leaves_files_that_the_store_s_owner_can_read(etcd: Etcd) -> None:
    with open_folder() as folder:
        first, second = machine(folder / "a"), machine(folder / "b")
        for node in (first, second):
            for path in (node / "store", *(node / "store").rglob("*")):
                os.chown(path, 65534, 65534)
        refused = init(first, etcd)
        assert refused.code == 2
        assert "setfacl -m u:nobody:r" in refused.err, "it is said how the service may read the engine's files"
        for path in (etcd.ca_file, etcd.client_cert):
            shutil.copy(path, first / path.name)
            os.chown(first / path.name, 65534, 65534)
        words = ("--engine", etcd.endpoints[0], "--ca-file", etcd.ca_file.name, "--client-cert", etcd.client_cert.name)
        assert certedge(first, "cluster", "init", *words, "--node", "edge-a").code == 0
        assert certedge(second, "cluster", "join", "-", given=invitation(first, "edge-b")).code == 0
        for path in ((second / "cluster/engine.pem"), Layout(second / "store").cluster_keys):
            status = path.stat()
            assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (65534, 0o600)
        assert certedge(second, "cluster", "status", user=65534).code == 3
        other = certedge(second, "cluster", "status", user=1)
        assert other.code == 1
        assert "belongs to" in other.err
        certedge(second, "cluster", "leave")


def test_nobody_else_is_shown_what_an_invitation_is(first: Path, etcd: Etcd, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal a warning goes with it; in a pipe the text is alone."""
    from tests.certstore.cli.command import on_terminal

    init(first, etcd)
    monkeypatch.chdir(first)
    shown = on_terminal(first, b"", "cluster", "invite", "edge-b")
    assert "Whoever has this text first can become edge-b" in shown.out
    piped = certedge(first, "cluster", "invite", "edge-c")
    assert piped.err == ""
    assert piped.out.startswith("-----BEGIN")
    assert piped.out.endswith("-----END CERTEDGE INVITATION-----\n")


def test_an_engine_that_is_away_is_named_and_the_command_ends(first: Path, etcd: Etcd) -> None:
    init(first, etcd)
    text = (first / "edge.yaml").read_text()
    (first / "edge.yaml").write_text(text.replace(etcd.endpoints[0], "https://127.0.0.1:9"))
    status = certedge(first, "cluster", "status", "--json")
    assert status.code == 3
    assert [each["code"] for each in status.json["problems"]] == ["cluster_detached"]
    invited = certedge(first, "cluster", "invite", "edge-b")
    assert invited.code == 1
    assert "127.0.0.1:9" in invited.err
    assert invited.out == ""
