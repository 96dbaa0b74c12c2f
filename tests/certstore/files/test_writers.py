"""Who may write a file: `test_counted_settings` has the table; here are its edges."""

import os
from pathlib import Path

import pytest

from certstore.files.writers import foreign_folder_writer, foreign_writer, owners


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "a").mkdir(mode=0o755)
    path = tmp_path / "a" / "file"
    path.write_text("x")
    path.chmod(0o644)
    return path


def test_a_file_that_was_replaced_after_it_was_opened_is_somebody_elses(path: Path) -> None:
    opened = path.stat()
    assert foreign_writer(path, path.parent.parent, opened) is None
    path.with_name("other").write_text("y")
    path.with_name("other").rename(path)
    assert foreign_writer(path, path.parent.parent, opened) == f"{path} was replaced just now"


def test_links_that_lead_to_each_other_end(path: Path) -> None:
    opened = path.stat()
    path.unlink()
    path.symlink_to("other")
    path.with_name("other").symlink_to("file")
    assert "too many links" in str(foreign_writer(path, path.parent, opened))


def test_a_folder_in_its_place_is_not_a_file(path: Path) -> None:
    opened = path.stat()
    assert foreign_writer(path.parent, path.parent.parent, opened) == f"{path.parent} is not a file"


@pytest.mark.parametrize(("mode", "words"), [(0o755, None), (0o757, "everybody may write"), (0o1777, "everybody may")])
def test_a_folder_where_others_make_files(path: Path, mode: int, words: str | None) -> None:
    path.parent.chmod(mode)
    assert (words or "None") in str(foreign_folder_writer(path.parent))


def test_a_folder_that_is_not_there_is_nobodys(tmp_path: Path) -> None:
    assert foreign_folder_writer(tmp_path / "gone") is None


def test_the_owners_in_words() -> None:
    assert owners().startswith("root")
    assert (owners() == "root") is (os.geteuid() == 0)
