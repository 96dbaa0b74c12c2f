import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from certstore.cli.cluster_files import add_section, checked, engine_files, left_files, relative, remove_section
from certstore.cli.context import Edge, open_edge
from certstore.cli.failure import CommandFailed, Exit
from certstore.cluster.invitation import EngineAccess, Invitation
from certstore.model.cluster.records import Role
from tests.certstore.cli.command import write_edge

FACTS = {"node": "edge-a", "engine": ["https://10.0.0.11:2379"], "ca_file": "ca.pem", "client_cert": "c.pem"}


@pytest.fixture
def edge(tmp_path: Path) -> Edge:
    write_edge(tmp_path)
    return open_edge(tmp_path / "edge.yaml")


def invitation(access: EngineAccess) -> Invitation:
    return Invitation.draw("0" * 16, "edge-b", Role.EDGE, access, datetime(2026, 11, 30, tzinfo=UTC))


BY_CERTIFICATE = invitation(EngineAccess(("https://10.0.0.11:2379",), "authority", "certificate and key"))
BY_PASSWORD = invitation(EngineAccess(("https://10.0.0.11:2379",), "authority", None, "certedge", "correct horse"))


@pytest.mark.parametrize(
    ("path", "written"),
    [("ca.pem", "ca.pem"), ("cluster/ca.pem", "cluster/ca.pem"), ("/etc/ssl/ca.pem", "/etc/ssl/ca.pem")],
)
def test_paths_are_written_as_edge_yaml_reads_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, written: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert relative(tmp_path, Path(path)) == written
    assert relative(tmp_path, None) is None


def test_a_path_is_relative_to_edge_yaml_and_not_to_where_you_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cluster").mkdir()
    monkeypatch.chdir(tmp_path / "cluster")
    assert relative(tmp_path, Path("ca.pem")) == "cluster/ca.pem"


def test_the_section_is_checked_before_it_is_written() -> None:
    assert checked(FACTS, "try") == FACTS
    with pytest.raises(CommandFailed) as failed:
        checked(FACTS | {"ca_file": None}, "try")
    assert failed.value.exit_code is Exit.USAGE
    assert "--ca-file" in failed.value.found


def test_the_files_stay_where_the_join_succeeds(edge: Edge) -> None:
    with engine_files(edge, BY_CERTIFICATE, "join") as section:
        pass
    assert section == {
        "engine": ["https://10.0.0.11:2379"], "ca_file": "cluster/engine-ca.pem", "client_cert": "cluster/engine.pem"
    }  # fmt: skip
    assert (edge.base / "cluster/engine.pem").read_text() == "certificate and key"


def test_a_password_lies_in_a_file_and_not_in_edge_yaml(edge: Edge) -> None:
    with engine_files(edge, BY_PASSWORD, "join") as section:
        add_section(edge, checked({"node": "edge-b", **section}, "join"))
    assert "correct horse" not in edge.config.read_text()
    assert (edge.base / "cluster/engine-password").read_text() == "correct horse"
    assert (edge.base / "cluster/engine-password").stat().st_mode & 0o777 == 0o600


def join_that_ends_with(edge: Edge, end: BaseException) -> None:
    with engine_files(edge, BY_CERTIFICATE, "join"):
        assert (edge.base / "cluster/engine.pem").exists()
        raise end


@pytest.mark.parametrize("end", [CommandFailed("join", "refused"), KeyboardInterrupt()], ids=["refused", "interrupted"])
def test_the_files_are_taken_back_where_the_join_fails(edge: Edge, end: BaseException) -> None:
    with pytest.raises(type(end)):
        join_that_ends_with(edge, end)
    assert not (edge.base / "cluster").exists()


def test_files_of_an_earlier_join_are_used_and_kept(edge: Edge) -> None:
    with engine_files(edge, BY_CERTIFICATE, "join"):
        pass
    with pytest.raises(CommandFailed):
        join_that_ends_with(edge, CommandFailed("join", "refused"))
    assert (edge.base / "cluster/engine.pem").exists()


def test_a_link_in_the_place_of_a_file_is_not_followed(edge: Edge, tmp_path: Path) -> None:
    (edge.base / "cluster").mkdir()
    (edge.base / "cluster/engine.pem").symlink_to(tmp_path / "elsewhere")
    with pytest.raises((CommandFailed, OSError)), engine_files(edge, BY_CERTIFICATE, "join"):
        pytest.fail("the file can't be written")
    assert not (tmp_path / "elsewhere").exists()


def test_a_section_of_the_administrator_keeps_its_files(edge: Edge) -> None:
    add_section(edge, FACTS)
    with engine_files(open_edge(edge.config), BY_CERTIFICATE, "join") as section:
        assert section == {}
    assert not (edge.base / "cluster").exists()


def test_edge_yaml_keeps_its_mode(edge: Edge) -> None:
    edge.config.chmod(0o640)
    assert add_section(edge, FACTS).is_done
    assert edge.config.stat().st_mode & 0o777 == 0o640
    assert remove_section(open_edge(edge.config)).is_done
    assert edge.config.stat().st_mode & 0o777 == 0o640


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_edge_yaml_keeps_its_owner_and_group(edge: Edge) -> None:
    os.chown(edge.config, 65534, 12)
    assert add_section(edge, FACTS).is_done
    status = edge.config.stat()
    assert (status.st_uid, status.st_gid) == (65534, 12)


def test_an_edge_yaml_that_would_mean_something_else_is_not_written(edge: Edge) -> None:
    """It changed since it was read."""
    edge.config.write_text("store: elsewhere\n")
    change = add_section(edge, FACTS)
    assert not change.is_done
    assert "other settings would change" in change.message
    assert change.to_write.startswith("cluster:\n")
    assert edge.config.read_text() == "store: elsewhere\n"


def test_nothing_is_left_in_the_folder_where_edge_yaml_can_not_be_written(
    edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(path.name for path in edge.base.iterdir())

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("certstore.files.atomic.write_all", fail)
    change = add_section(edge, FACTS)
    assert (change.is_done, "No space left" in change.message) == (False, True)
    assert sorted(path.name for path in edge.base.iterdir()) == before


def test_what_a_node_that_left_no_longer_needs_is_named(edge: Edge) -> None:
    assert left_files(edge) == []
    with engine_files(edge, BY_PASSWORD, "join") as section:
        add_section(edge, checked({"node": "edge-b", **section}, "join"))
    named = left_files(open_edge(edge.config))
    assert [path.name for path in named] == ["engine-ca.pem", "engine-password"]
