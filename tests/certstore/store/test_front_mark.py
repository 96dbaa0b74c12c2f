"""The store of a front: nothing that lies in its drop folders is adopted, and everything that lies there is named."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from certstore.model.front import Front
from certstore.model.layout import Layout
from certstore.model.settings.models import SiteSettings
from certstore.model.snapshot import MAIN
from certstore.store.front_mark import read_front, write_front
from certstore.store.writer import StoreWriter
from tests.certificates import CertificateAuthority
from tests.certstore.stores import OTHER, SITE, acquire, check_until_decided, drop_pair, problem_codes, served, writing

CA = CertificateAuthority()
FRONT = Front("n3", "n1")
CODE = "ignored_on_front"


@pytest.fixture
def front(tmp_path: Path) -> Iterator[StoreWriter]:
    """One site, with a drop that it took before its node became a front."""
    with acquire(tmp_path / "store") as writer:
        writer.add_site(SITE, SiteSettings(host=SITE))
        drop_pair(writer, SITE, CA.issue(SITE))
        check_until_decided(writer, SITE)
        writer.be_front(FRONT)
        yield writer


def test_the_mark_is_read_back_and_taken_away(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.temporary.mkdir(parents=True)
    assert read_front(layout) is None
    write_front(layout, FRONT)
    assert read_front(layout) == FRONT
    assert layout.cluster_front.stat().st_mode & 0o777 == 0o600
    write_front(layout, None)
    write_front(layout, None)
    assert read_front(layout) is None


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"node": 1, "full_node": null}', b"[" * 4000, b"\xff"])
def test_a_mark_that_can_not_be_understood_marks_a_front(tmp_path: Path, content: bytes) -> None:
    layout = Layout(tmp_path)
    layout.cluster_front.parent.mkdir()
    layout.cluster_front.write_bytes(content)
    assert read_front(layout) is not None


def test_the_drop_that_was_taken_before_is_no_problem(front: StoreWriter) -> None:
    check_until_decided(front, SITE)
    assert problem_codes(front, SITE) == set()


def test_a_drop_is_left_where_it_is_and_named(front: StoreWriter) -> None:
    before = served(front.layout.root, SITE)
    folder = drop_pair(front, SITE, CA.issue(SITE))
    content = (folder / "privkey.pem").read_bytes()
    assert check_until_decided(front, SITE).result is None
    assert served(front.layout.root, SITE) == before
    assert (folder / "privkey.pem").read_bytes() == content
    (problem,) = front.problems(SITE)
    assert problem.code == CODE
    assert problem.message.startswith(f"{folder} is ignored: n3 is a front")
    assert "e.g. n1" in problem.message
    for path in folder.glob("*.pem"):
        path.unlink()
    check_until_decided(front, SITE)
    assert CODE not in problem_codes(front, SITE)


def test_a_changed_site_yaml_does_not_count(front: StoreWriter) -> None:
    path, names = front.layout.site_yaml(SITE), front.site(SITE).names
    content = path.read_text()
    path.write_text(f"{content}additional_names: [more.{SITE}]\n")
    check_until_decided(front, SITE)
    assert front.site(SITE).names == names
    (problem,) = front.problems(SITE)
    assert problem.code == CODE
    assert str(path) in problem.message
    path.write_text(content)
    check_until_decided(front, SITE)
    assert problem_codes(front, SITE) == set()


@pytest.mark.parametrize("is_restarted", [False, True], ids=["while it runs", "before its start"])
def test_a_new_folder_or_file_makes_no_site(tmp_path: Path, is_restarted: bool) -> None:
    issued = CA.issue(OTHER)
    with writing(tmp_path / "store") as writer:
        writer.be_front(FRONT)
        if not is_restarted:
            folder = drop_pair(writer, OTHER, issued)
            writer.check(OTHER)
            assert writer.sites() == (MAIN,)
            assert problem_codes(writer, OTHER) == {CODE}
            for path in folder.iterdir():
                path.unlink()
            folder.rmdir()
            writer.check(OTHER)
            assert problem_codes(writer, OTHER) == set()
    if is_restarted:
        layout = Layout(tmp_path / "store")
        layout.drop_folder(OTHER).mkdir()
        (layout.drop_folder(OTHER) / "all.pem").write_bytes(issued.combined_pem)
        with writing(layout.root, front=read_front(layout)) as writer:
            writer.check(OTHER)
            assert writer.sites() == (MAIN,)
            assert problem_codes(writer, OTHER) == {CODE}
            writer.be_front(None)
            check_until_decided(writer, OTHER)
            assert served(writer.layout.root, OTHER) == issued.fingerprint, "once it is no front, the drop counts"
            assert CODE not in problem_codes(writer, OTHER)


def test_a_new_main_certificate_in_the_folder_does_not_count_at_a_start(tmp_path: Path) -> None:
    with writing(tmp_path / "store") as writer:
        before = served(writer.layout.root, MAIN)
        writer.be_front(FRONT)
        drop_pair(writer, MAIN, CA.issue("mail.install.test"))
    with writing(tmp_path / "store", front=FRONT) as writer:
        check_until_decided(writer, MAIN)
        assert served(writer.layout.root, MAIN) == before
        assert CODE in problem_codes(writer, MAIN)


def test_a_mark_that_can_not_be_written_counts_until_the_next_start(tmp_path: Path) -> None:
    with writing(tmp_path / "store") as writer:
        (tmp_path / "store/cluster").write_text("in the way")
        with pytest.raises(OSError, match="cluster"):
            writer.be_front(FRONT)
        assert writer.front == FRONT
        drop_pair(writer, OTHER, CA.issue(OTHER))
        writer.check(OTHER)
        assert writer.sites() == (MAIN,)
