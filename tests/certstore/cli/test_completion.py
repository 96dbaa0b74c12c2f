"""What the shell offers: typer's scripts ask the program itself, as these tests do."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from certstore.model.cluster.standing import ClusterStanding, NodeFacts
from certstore.model.layout import Layout
from tests.certstore.cli.command import add_site, certedge, write_edge

HOST = "webmail.client-a.test"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_edge(tmp_path)
    add_site(tmp_path, HOST)
    (tmp_path / "store/domains/weird.Name").mkdir()
    return tmp_path


def offered(folder: Path, line: str, *, user: int | None = None, given: str | None = "edge.yaml") -> list[str]:
    """The completions that bash gets for the last word of `line`, which follows `certedge`."""
    words = ["certedge", *line.split(" ")]
    ran = certedge(
        folder,
        config=False,
        user=user,
        CERTEDGE_CONFIG=str(folder / given) if given else "",
        _CERTEDGE_COMPLETE="complete_bash",
        COMP_WORDS=" ".join(words),
        COMP_CWORD=str(len(words) - 1),
    )
    return ran.out.split()


@pytest.mark.parametrize(
    "line",
    [
        "site show we",
        "cert history we",
        "renew main we",
        "verify --site we",
        "admin token add x --scope read --site we",
        "admin user add x --site we",
        "explain we",
    ],
)
def test_sites_are_offered_wherever_one_is_named(folder: Path, line: str) -> None:
    assert offered(folder, line) == [HOST]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("admin token add x --scope ", ["read", "operate", "admin"]),
        ("admin user add x --role d", ["domain"]),
        (f"site set {HOST} --certificate a", ["acme"]),
        (f"site set {HOST} --key-type rsa", ["rsa2048", "rsa3072", "rsa4096"]),
        (f"site set {HOST} --unset pro", ["profile"]),
        ("explain x --kind imap", ["imap", "imaps"]),
    ],
)
def test_words_that_are_allowed_are_offered(folder: Path, line: str, words: list[str]) -> None:
    assert offered(folder, line) == words


def test_settings_file_of_the_line_counts(folder: Path) -> None:
    assert offered(folder, f"--config {folder / 'edge.yaml'} site show we", given=None) == [HOST]
    assert offered(folder, f"site show --config {folder / 'edge.yaml'} we", given=None) == [HOST]
    assert offered(folder, "site show we", given="nowhere.yaml") == []


@pytest.mark.parametrize(
    ("asked", "start"),
    [("complete_zsh", "_arguments '*: :(("), ("complete_fish", "")],
    ids=lambda value: str(value).removeprefix("complete_"),
)
def test_other_shells_are_offered_the_same(folder: Path, asked: str, start: str) -> None:
    ran = certedge(
        folder,
        config=False,
        CERTEDGE_CONFIG=str(folder / "edge.yaml"),
        _CERTEDGE_COMPLETE=asked,
        _TYPER_COMPLETE_ARGS="certedge site show we",
        _TYPER_COMPLETE_FISH_ACTION="get-args",
    )
    assert ran.out.startswith(start + ('"' if start else HOST))
    assert HOST in ran.out
    assert "weird" not in ran.out


def test_members_of_the_cluster_are_offered(folder: Path) -> None:
    nodes = tuple(NodeFacts(name, "edge", "in_step") for name in ("edge-a", "edge-b", "witness"))
    now = datetime.now(UTC)
    standing = ClusterStanding("edge-a", "0" * 16, now, is_attached=True, since=now, summary="", nodes=nodes)
    path = Layout(folder / "store").cluster_standing
    assert offered(folder, "cluster remove ") == [], "while no service says who they are"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(standing.to_json()))
    assert offered(folder, "cluster remove ed") == ["edge-a", "edge-b"]
