"""What was live is live again after somebody has taken its link away: nothing vanishes by accident."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from certstore.model.layout import Layout
from certstore.model.snapshot import MAIN
from certstore.store.reader import Store
from tests.certificates import CertificateAuthority
from tests.certstore.stores import writing
from tests.running import Site, write_site

AUTHORITY = CertificateAuthority()


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """main and a.test have a certificate each, a.test its second."""
    root = tmp_path / "store"
    write_site(root, MAIN, Site(AUTHORITY.issue("edge.test")))
    write_site(root, "a.test", AUTHORITY.issue("a.test"))
    with writing(root) as writer:
        writer.check(MAIN)
        writer.check("a.test")
        write_site(root, "a.test", AUTHORITY.issue("a.test"))
        writer.check("a.test")
    return Layout(root)


def served(layout: Layout) -> dict[str, tuple[int, str] | None]:
    snapshot = Store(layout).snapshot()
    return {
        site: None if entry.certificate is None else (entry.certificate.version, entry.certificate.fingerprint)
        for site, entry in snapshot.sites.items()
    }


def other_version(layout: Layout) -> None:
    layout.live("a.test").unlink()
    layout.live("a.test").symlink_to(layout.live_target(MAIN, 1))


def elsewhere(layout: Layout) -> None:
    layout.live("a.test").unlink()
    layout.live("a.test").symlink_to("/etc")


def a_file(layout: Layout) -> None:
    layout.live("a.test").unlink()
    layout.live("a.test").write_text("")


@pytest.mark.parametrize(
    "lose",
    [lambda layout: layout.live("a.test").unlink(), other_version, elsewhere, a_file],
    ids=["gone", "to another site", "out of the store", "a file"],
)
def test_link_that_was_lost_is_put_back(
    layout: Layout, lose: Callable[[Layout], None], caplog: pytest.LogCaptureFixture
) -> None:
    before = served(layout)
    assert before["a.test"] is not None
    assert before["a.test"][0] == 2
    lose(layout)
    with writing(layout.root) as writer:
        assert served(layout) == before
        assert writer.problems("a.test") == ()
    assert str(layout.live("a.test").readlink()) == layout.live_target("a.test", 2)
    assert any("version 2 was made live again" in message for message in caplog.messages)


def test_folder_of_links_that_was_lost_is_made_anew_and_main_is_not_self_signed(layout: Layout) -> None:
    before = served(layout)
    shutil.rmtree(layout.live_folder)
    with writing(layout.root):
        assert served(layout) == before


def test_version_rolled_back_to_is_the_one_put_back(layout: Layout) -> None:
    with writing(layout.root) as writer:
        writer.rollback("a.test", 1)
    layout.live("a.test").unlink()
    with writing(layout.root) as writer:
        live = writer.live_version("a.test")
    assert live is not None
    assert live.number == 1


def test_newest_whole_version_stands_in_for_one_that_is_damaged_too(layout: Layout) -> None:
    layout.live("a.test").unlink()
    (layout.version("a.test", 2) / "meta.json").write_text("[" * 300_000)
    with writing(layout.root) as writer:
        live = writer.live_version("a.test")
    assert live is not None
    assert live.number == 1


def test_folder_in_the_links_place_is_left_and_reported(layout: Layout) -> None:
    before = served(layout)
    layout.live("a.test").unlink()
    shutil.copytree(layout.version("a.test", 2), layout.live("a.test"))
    with writing(layout.root) as writer:
        assert served(layout) == before
        assert [(each.code, str(layout.live("a.test")) in each.message) for each in writer.problems("a.test")] == [
            ("live_unusable", True)
        ]
    assert (layout.live("a.test") / "fullchain.pem").is_file()


def test_removed_site_is_not_put_back(layout: Layout) -> None:
    with writing(layout.root) as writer:
        writer.remove_site("a.test")
    with writing(layout.root):
        assert "a.test" not in served(layout)
    assert not layout.live("a.test").is_symlink()


def test_file_in_place_of_one_sites_versions_keeps_no_other_from_being_served(layout: Layout) -> None:
    before = served(layout)
    shutil.rmtree(layout.versions("a.test"))
    layout.versions("a.test").write_text("")
    with writing(layout.root) as writer:
        assert served(layout)[MAIN] == before[MAIN]
        assert [each.code for each in writer.problems("a.test")] == ["live_unusable"]


def test_folder_of_ours_that_is_none_is_named(layout: Layout) -> None:
    shutil.rmtree(layout.challenges)
    layout.challenges.symlink_to("/nonexistent/folder")
    with pytest.raises(NotADirectoryError, match="neither a folder nor a link") as raised, writing(layout.root):
        pass
    assert raised.value.filename == str(layout.challenges)
