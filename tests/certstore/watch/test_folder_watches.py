"""Changes in single folders are told once they happen, whatever becomes of the folder."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from certstore.watch.folder_watches import FolderWatches
from tests.deadlines import wait_for


class Watching:
    def __init__(self) -> None:
        self.seen: list[Path] = []
        self.watches = FolderWatches(self.happened)

    def happened(self, folder: Path) -> None:
        self.seen.append(folder)
        if folder.name == "trouble":
            raise ValueError("no")

    def expect(self, folder: Path) -> None:
        wait_for(lambda: folder in self.seen, f"a change in {folder.name} to be told")
        self.seen.clear()


@pytest.fixture
def watching() -> Iterator[Watching]:
    watching = Watching()
    yield watching
    watching.watches.stop()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a").mkdir()
    return tmp_path / "a"


def test_every_change_in_a_folder_is_told(watching: Watching, folder: Path) -> None:
    watching.watches.watch(folder)
    (folder / "x").write_text("1")
    watching.expect(folder)
    (folder / "x").chmod(0o600)
    watching.expect(folder)
    (folder / "x").rename(folder / "y")
    watching.expect(folder)
    (folder / "y").unlink()
    watching.expect(folder)


def test_reading_and_other_folders_are_not_told(watching: Watching, folder: Path, tmp_path: Path) -> None:
    (folder / "x").write_text("1")
    (tmp_path / "b").mkdir()
    for each in (folder, tmp_path / "b"):
        watching.watches.watch(each)
    (folder / "x").read_text()
    list(folder.iterdir())
    (tmp_path / "b" / "x").write_text("1")
    wait_for(lambda: watching.seen, "the other change")
    assert set(watching.seen) == {tmp_path / "b"}


def test_a_folder_by_two_paths_is_told_by_both(watching: Watching, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("a")
    for each in (folder, tmp_path / "link"):
        watching.watches.watch(each)
    (folder / "x").write_text("1")
    watching.expect(tmp_path / "link")
    watching.watches.unwatch(folder)
    (folder / "x").write_text("2")
    watching.expect(tmp_path / "link")
    assert folder not in watching.seen


def test_a_folder_that_was_replaced_is_watched_again(watching: Watching, folder: Path) -> None:
    watching.watches.watch(folder)
    shutil.rmtree(folder)
    watching.expect(folder)
    folder.mkdir()
    watching.watches.watch(folder)
    (folder / "x").write_text("1")
    watching.expect(folder)
    folder.rename(folder.with_name("b"))
    folder.mkdir()
    watching.watches.watch(folder)
    watching.seen.clear()
    (folder / "y").write_text("1")
    watching.expect(folder)


def test_trouble_with_one_folder_does_not_end_the_watching(watching: Watching, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "trouble").mkdir()
    for each in (folder, tmp_path / "trouble"):
        watching.watches.watch(each)
    (tmp_path / "trouble" / "x").write_text("1")
    watching.expect(tmp_path / "trouble")
    (folder / "x").write_text("1")
    watching.expect(folder)


def test_what_is_not_there_is_an_error(watching: Watching, folder: Path) -> None:
    with pytest.raises(FileNotFoundError):
        watching.watches.watch(folder / "gone")
    watching.watches.unwatch(folder)


def test_stopping_gives_everything_back(folder: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    watching = Watching()
    watching.watches.watch(folder)
    watching.watches.stop()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
