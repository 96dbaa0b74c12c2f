"""Durable writes: the final name has old or new content, and an error leaves nothing behind.

Kills between the steps are tested in `tests/certstore/store/test_crash.py`, full disks in `test_disk_full.py`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from certstore.files.atomic import (
    NAMES,
    KeyPermissions,
    make_folder,
    replace_file,
    replace_link,
    sync_file_system,
    temporary_name,
    write_all,
    write_new_file,
    write_new_folder,
)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def names_in(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    folder = tmp_path / "tmp"
    folder.mkdir()
    return folder


@pytest.mark.parametrize(
    ("gid", "file_mode", "folder_mode"),
    [pytest.param(None, 0o600, 0o700, id="the owner alone"), pytest.param(0, 0o640, 0o750, id="a group too")],
)
def test_who_may_read_keys(gid: int | None, file_mode: int, folder_mode: int) -> None:
    permissions = KeyPermissions(gid)
    assert (permissions.key_file, permissions.key_folder) == (file_mode, folder_mode)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644])
@pytest.mark.parametrize("is_durable", [True, False], ids=["durable", "not durable"])
def test_new_file_has_its_mode_and_content(tmp_path: Path, mode: int, is_durable: bool) -> None:
    path = tmp_path / "new"
    write_new_file(path, b"content", mode, is_durable=is_durable)
    assert (path.read_bytes(), mode_of(path)) == (b"content", mode)


@pytest.mark.parametrize("target", ["old", "nowhere"])
def test_new_file_follows_no_link(tmp_path: Path, target: str) -> None:
    (tmp_path / "old").write_bytes(b"old")
    (tmp_path / "new").symlink_to(tmp_path / target)
    with pytest.raises(FileExistsError):
        write_new_file(tmp_path / "new", b"content", 0o600)
    assert (tmp_path / "old").read_bytes() == b"old"
    assert not (tmp_path / "nowhere").exists()


def broken(*_: object) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("call", ["write", "fchmod", "fsync"])
def test_failed_write_leaves_nothing_behind(
    tmp_path: Path, temporary: Path, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, call, broken)
    with pytest.raises(OSError, match="No space"):
        replace_file(path, b"new", 0o600, temporary)
    assert path.read_bytes() == b"old"
    assert names_in(temporary) == []


@pytest.mark.parametrize(
    "replace",
    [
        pytest.param(lambda path, temporary: replace_file(path, b"new", 0o600, temporary), id="file"),
        pytest.param(lambda path, temporary: replace_link(path, "new", temporary), id="link"),
    ],
)
def test_refused_rename_leaves_nothing_behind(
    tmp_path: Path, temporary: Path, replace: Callable[[Path, Path], None]
) -> None:
    folder = tmp_path / "a folder"
    folder.mkdir()
    with pytest.raises(IsADirectoryError):
        replace(folder, temporary)
    assert names_in(temporary) == []


@pytest.mark.parametrize("is_there", [True, False], ids=["there is one", "there is none"])
def test_file_and_link_are_replaced(tmp_path: Path, temporary: Path, is_there: bool) -> None:
    file, link = tmp_path / "file", tmp_path / "link"
    if is_there:
        file.write_bytes(b"old")
        link.symlink_to("old")
    replace_file(file, b"new", 0o640, temporary)
    replace_link(link, "file", temporary)
    assert (file.read_bytes(), mode_of(file)) == (b"new", 0o640)
    assert str(link.readlink()) == "file"
    assert names_in(temporary) == []


def test_long_name_can_be_replaced(tmp_path: Path, temporary: Path) -> None:
    replace_file(tmp_path / ("x" * 255), b"new", 0o600, temporary)
    assert temporary_name(temporary) != temporary_name(temporary)


def test_temporary_names_are_used_again_much_later(temporary: Path) -> None:
    """Python 3.12 keeps each for good."""
    names = [temporary_name(temporary).name for _ in range(3 * NAMES)]
    assert len(set(names)) == NAMES
    assert len(set(names[:NAMES])) == NAMES


def test_a_forked_process_has_names_of_its_own(temporary: Path) -> None:
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(theirs, temporary_name(temporary).name.encode())
        os._exit(0)
    os.waitpid(child, 0)
    name = os.read(ours, 100).decode()
    os.close(ours)
    os.close(theirs)
    assert name[:16] != temporary_name(temporary).name[:16]


def test_new_folder_is_made_with_its_modes(tmp_path: Path) -> None:
    folder = tmp_path / "version"
    with ThreadPoolExecutor(2) as pool:
        write_new_folder(folder, {"a": b"1", "b": b"2"}, KeyPermissions(os.getgid()), pool)
    assert {name: (folder / name).read_bytes() for name in names_in(folder)} == {"a": b"1", "b": b"2"}
    assert [mode_of(each) for each in (folder, folder / "a", folder / "b")] == [0o750, 0o640, 0o640]


def test_a_folder_without_syncs_of_its_own_is_synced_with_the_file_system(tmp_path: Path) -> None:
    write_new_folder(tmp_path / "new", {"a": b"1"}, KeyPermissions(), None)
    sync_file_system(tmp_path)
    assert (tmp_path / "new" / "a").read_bytes() == b"1"


def test_a_file_system_that_is_gone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        sync_file_system(tmp_path / "gone")


def test_new_folder_reports_a_failed_sync_and_closes_every_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    monkeypatch.setattr(os, "fsync", broken)
    with ThreadPoolExecutor(1) as pool, pytest.raises(OSError, match="No space"):
        write_new_folder(tmp_path / "v", {"a": b"", "b": b""}, KeyPermissions(), pool)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_write_goes_on_after_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    written = bytearray()

    def write_two(descriptor: int, view: memoryview) -> int:
        written.extend(view[:2])
        return min(2, len(view))

    monkeypatch.setattr(os, "write", write_two)
    write_all(1, b"12345")
    assert written == b"12345"


@pytest.mark.parametrize("kind", ["none", "folder", "link to a folder"])
def test_folder_is_made_or_given_its_mode(tmp_path: Path, kind: str) -> None:
    folder, real = tmp_path / "folder", tmp_path / "real"
    if kind != "none":
        (folder if kind == "folder" else real).mkdir(0o777)
    if kind == "link to a folder":
        folder.symlink_to(real)
    make_folder(folder, 0o750, os.getgid())
    assert stat.S_IMODE(folder.stat().st_mode) == 0o750
    assert folder.stat().st_gid == os.getgid()


@pytest.mark.parametrize("kind", ["file", "link to nothing"])
def test_what_is_no_folder_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "odd"
    if kind == "file":
        path.write_bytes(b"")
    else:
        path.symlink_to("nowhere")
    with pytest.raises(NotADirectoryError):
        make_folder(path, 0o700)


def test_a_new_file_never_takes_the_place_of_one_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_bytes(b"somebody's")
    with pytest.raises(FileExistsError):
        write_new_file(tmp_path / "key.pem", b"ours", 0o600)
    assert (tmp_path / "key.pem").read_bytes() == b"somebody's"
