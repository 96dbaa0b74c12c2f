"""What one node has, another one serves: with the care of a drop, and never over what has changed meanwhile."""

import errno
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from certstore.files.atomic import sync_file_system
from certstore.model.record import Outcome
from certstore.model.settings.models import SiteSettings
from certstore.model.snapshot import MAIN
from certstore.store import adoption
from certstore.store.adoption import Adopted, Declaration, HeadAdoption, Removed, SiteAdoption
from certstore.store.journal import JournalWriter
from certstore.store.reader import Store
from certstore.store.versions import live_number, read_files
from certstore.store.writer import StoreWriter
from tests.certificates import CertificateAuthority
from tests.certstore.stores import (
    OTHER,
    SITE,
    assert_live_is_whole,
    check_until_decided,
    drop_pair,
    problem_codes,
    served,
    writing,
)
from tests.odd_certificates import NAME, Odd, make, pss

NODE = "edge-a"
REMOVED = Removed(datetime(2026, 11, 1, tzinfo=UTC))


@pytest.fixture
def there(tmp_path: Path, ca: CertificateAuthority) -> Iterator[StoreWriter]:
    """The other node: it serves SITE by a drop, and OTHER by a site.yaml."""
    with writing(tmp_path / "there") as writer:
        writer.add_site(OTHER, SiteSettings(host=OTHER, additional_names=(f"imap.{OTHER}",)))
        for site in (SITE, OTHER):
            drop_pair(writer, site, ca.issue(site))
            check_until_decided(writer, site)
        yield writer


@pytest.fixture
def here(tmp_path: Path) -> Iterator[StoreWriter]:
    with writing(tmp_path / "here") as writer:
        yield writer


def settings_of(there: StoreWriter, here: StoreWriter, site: str) -> SiteAdoption:
    declaration = there.declaration(site)
    assert declaration is not None
    return SiteAdoption(site, NODE, here.declaration(site), declaration)


def head_of(there: StoreWriter, here: StoreWriter, site: str, *, is_live: bool = True) -> HeadAdoption:
    version, live = there.live_version(site), here.live_version(site)
    assert version is not None
    files = read_files(there.layout, site, version)
    return HeadAdoption(version, NODE, live.digest if live else None, files, is_live)


def follow(there: StoreWriter, here: StoreWriter, *sites: str) -> list[Adopted]:
    answers = list(here.adopt_declarations([settings_of(there, here, site) for site in sites]))
    return answers + list(here.adopt_heads([head_of(there, here, site) for site in sites]))


def outcomes(answers: list[Adopted] | tuple[Adopted, ...]) -> list[Outcome]:
    return [each.outcome for each in answers]


def test_a_site_and_its_certificate_are_served_here_too(there: StoreWriter, here: StoreWriter) -> None:
    assert set(outcomes(follow(there, here, SITE, OTHER))) == {Outcome.DONE}
    for site in (SITE, OTHER):
        assert served(here.layout.root, site) == served(there.layout.root, site)
        assert_live_is_whole(here.layout.root, site)
        assert here.site(site).names == there.site(site).names
        assert here.declaration(site) == there.declaration(site)
    assert here.layout.site_yaml(OTHER).read_text() == there.layout.site_yaml(OTHER).read_text()


def test_the_version_stays_the_publishers_and_the_record_says_from_where(there: StoreWriter, here: StoreWriter) -> None:
    """Renewal reads in the source whether a certificate was ordered."""
    follow(there, here, SITE)
    assert here.live_version(SITE) == there.live_version(SITE)
    record = here.records(SITE)[-1]
    assert (record.doing, record.source, record.version) == ("replicate", "cluster:edge-a", 1)


def test_the_next_start_knows_everything(there: StoreWriter, here: StoreWriter, tmp_path: Path) -> None:
    follow(there, here, SITE, OTHER)
    before = {site: (here.site(site), here.declaration(site)) for site in (SITE, OTHER)}
    here.close()
    with writing(tmp_path / "here") as again:
        assert {site: (again.site(site), again.declaration(site)) for site in (SITE, OTHER)} == before


def test_a_site_without_files_here_is_no_problem(there: StoreWriter, here: StoreWriter, tmp_path: Path) -> None:
    """A bare site has its drop on another node."""
    follow(there, here, SITE)
    here.check(SITE)
    assert problem_codes(here, SITE) == set()
    here.close()
    with writing(tmp_path / "here") as again:
        again.check(SITE)
        assert problem_codes(again, SITE) == set()


def test_settings_count_even_where_site_yaml_cannot_be_written(there: StoreWriter, here: StoreWriter) -> None:
    """Configuration management may own the file: its old content does not count as news."""
    managed = here.layout.root / "managed.yaml"
    managed.write_text(f"host: {OTHER}\n")
    here.layout.drop_folder(OTHER).mkdir()
    here.layout.site_yaml(OTHER).symlink_to(managed)
    here.check(OTHER)
    follow(there, here, OTHER)
    here.check(OTHER)
    assert here.site(OTHER).names == there.site(OTHER).names
    assert problem_codes(here, OTHER) == set()
    managed.write_text(f"host: {OTHER}\nadditional_names: [pop3.{OTHER}, imap.{OTHER}]\n")
    here.check(OTHER)
    assert f"pop3.{OTHER}" in here.site(OTHER).names, "a change of it is news"


def test_a_removal_stays(there: StoreWriter, here: StoreWriter, ca: CertificateAuthority, tmp_path: Path) -> None:
    follow(there, here, SITE)
    there.remove_site(SITE)
    assert outcomes(here.adopt_declarations([settings_of(there, here, SITE)])) == [Outcome.DONE]
    assert SITE not in here.sites()
    drop_pair(here, SITE, ca.issue(SITE))
    here.check(SITE)
    here.close()
    with writing(tmp_path / "here") as again:
        assert SITE not in again.sites()
        assert isinstance(again.declaration(SITE), Removed)
        there.add_site(SITE, SiteSettings(host=SITE))
        assert outcomes(again.adopt_declarations([settings_of(there, again, SITE)])) == [Outcome.DONE]
        assert SITE in again.sites(), "only an addition brings it back"


def test_a_removal_of_a_site_that_was_never_here_is_remembered(here: StoreWriter) -> None:
    answers = here.adopt_declarations([SiteAdoption(SITE, NODE, None, REMOVED)])
    assert outcomes(answers) == [Outcome.DONE]
    assert here.declaration(SITE) == REMOVED


def test_main_cannot_be_removed(here: StoreWriter) -> None:
    answers = here.adopt_declarations([SiteAdoption(MAIN, NODE, here.declaration(MAIN), REMOVED)])
    assert outcomes(answers) == [Outcome.REFUSED]
    assert MAIN in here.sites()


def test_what_has_changed_meanwhile_is_left_alone(
    there: StoreWriter, here: StoreWriter, ca: CertificateAuthority
) -> None:
    follow(there, here, SITE, OTHER)
    drop_pair(there, SITE, ca.issue(SITE))
    check_until_decided(there, SITE)
    there.set_site(OTHER, {"inspect": True})
    head, settings = head_of(there, here, SITE), settings_of(there, here, OTHER)
    drop_pair(here, SITE, ca.issue(SITE))
    check_until_decided(here, SITE)
    here.set_site(OTHER, {"contact": ["a@client-b.test"]})
    before = served(here.layout.root, SITE)
    assert [each.is_outdated for each in (*here.adopt_heads([head]), *here.adopt_declarations([settings]))] == [
        True, True,
    ]  # fmt: skip
    assert served(here.layout.root, SITE) == before
    assert not here.site(OTHER).inspect


def test_a_second_time_changes_nothing(there: StoreWriter, here: StoreWriter) -> None:
    follow(there, here, SITE, OTHER)
    records = here.records(SITE)
    assert set(outcomes(follow(there, here, SITE, OTHER))) == {Outcome.NOTED}
    assert here.records(SITE) == records


def test_a_rollback_there_is_no_second_copy_here(
    there: StoreWriter, here: StoreWriter, ca: CertificateAuthority
) -> None:
    for _ in range(2):
        drop_pair(there, SITE, ca.issue(SITE))
        check_until_decided(there, SITE)
        follow(there, here, SITE)
    there.rollback(SITE)
    follow(there, here, SITE)
    assert live_number(here.layout, SITE) == live_number(there.layout, SITE)
    assert len(here.versions(SITE)) == 2


def test_a_number_that_something_else_has_here_is_not_used_again(
    there: StoreWriter, here: StoreWriter, ca: CertificateAuthority
) -> None:
    drop_pair(here, SITE, ca.issue(SITE))
    check_until_decided(here, SITE)
    own = here.live_version(SITE)
    follow(there, here, SITE)
    assert served(here.layout.root, SITE) == served(there.layout.root, SITE)
    assert live_number(here.layout, SITE) == 2
    here.rollback(SITE)
    assert here.live_version(SITE) == own, "what was here first can come back"


def test_a_predecessor_is_archived_only(there: StoreWriter, here: StoreWriter, ca: CertificateAuthority) -> None:
    old = head_of(there, here, SITE, is_live=False)
    drop_pair(there, SITE, ca.issue(SITE))
    check_until_decided(there, SITE)
    here.adopt_declarations([settings_of(there, here, SITE)])
    assert outcomes(here.adopt_heads([old])) == [Outcome.DONE]
    assert here.live_version(SITE) is None
    here.adopt_heads([head_of(there, here, SITE)])
    here.rollback(SITE)
    assert here.live_version(SITE) == old.version


UNFIT = make(Odd(pss("sha512", 200)))
"""Only the library that serves refuses it."""


def test_what_this_machine_cannot_serve_is_said_and_does_not_stop_the_others(
    there: StoreWriter, here: StoreWriter, monkeypatch: pytest.MonkeyPatch, ca: CertificateAuthority
) -> None:
    follow(there, here, SITE, OTHER)
    before = served(here.layout.root, SITE)
    for site in (SITE, OTHER):
        drop_pair(there, site, ca.issue(site))
        check_until_decided(there, site)
    refused = there.live_version(SITE)
    assert refused is not None
    own = here._state.trial

    def trial(files: Mapping[str, bytes]) -> str | None:
        is_refused = files == read_files(there.layout, SITE, refused)
        return "its key is too unusual" if is_refused else own(files)

    monkeypatch.setattr(here._state, "trial", trial)
    answers = here.adopt_heads([head_of(there, here, site) for site in (SITE, OTHER)])
    assert outcomes(answers) == [Outcome.REFUSED, Outcome.DONE]
    assert served(here.layout.root, SITE) == before
    assert problem_codes(here, SITE) == {"not_adopted_here"}
    monkeypatch.setattr(here._state, "trial", own)
    assert outcomes(here.adopt_heads([head_of(there, here, SITE)])) == [Outcome.DONE]
    assert problem_codes(here, SITE) == set()


def test_an_unusual_certificate_is_refused_by_a_real_trial(here: StoreWriter, there: StoreWriter) -> None:
    here.adopt_declarations([SiteAdoption(NAME, NODE, None, Declaration(NAME, None, {NAME: 7}))])
    version = there.live_version(SITE)
    assert version is not None
    one = head_of(there, here, SITE)
    files = dict(one.files) | {name: UNFIT[name] for name in ("fullchain.pem", "privkey.pem") if name in UNFIT}
    odd = replace(one, version=replace(version, site=NAME), files=files)
    assert outcomes(here.adopt_heads([odd])) == [Outcome.REFUSED], "the description is of another certificate"


@pytest.mark.parametrize("name", ["fullchain.pem", "privkey.pem", "chain.pem"])
def test_files_that_are_not_those_of_their_description_are_refused(
    name: str, there: StoreWriter, here: StoreWriter
) -> None:
    here.adopt_declarations([settings_of(there, here, SITE)])
    head = head_of(there, here, SITE)
    swapped = head_of(there, here, OTHER)
    odd = replace(head, files={**head.files, name: swapped.files[name] + b"\n"})
    assert outcomes(here.adopt_heads([odd])) == [Outcome.REFUSED]
    assert here.versions(SITE) == ()


def test_settings_that_reach_into_this_store_are_refused(here: StoreWriter) -> None:
    inside = str(here.layout.control_socket)
    declaration = Declaration(SITE, {"host": SITE, "upstream": [{"url": f"unix:{inside}"}]}, {SITE: 4})
    assert outcomes(here.adopt_declarations([SiteAdoption(SITE, NODE, None, declaration)])) == [Outcome.REFUSED]
    assert SITE not in here.sites()


def test_settings_of_a_newer_release_are_refused(here: StoreWriter) -> None:
    declaration = Declaration(SITE, {"host": SITE, "of_next_year": 1}, {SITE: 4})
    assert outcomes(here.adopt_declarations([SiteAdoption(SITE, NODE, None, declaration)])) == [Outcome.REFUSED]


def test_agreed_numbers_decide_who_owns_a_name(here: StoreWriter) -> None:
    """Here the one site came first, in the cluster the other one."""
    for site in ("one.test", "two.test"):
        here.add_site(site, SiteSettings(host=site, additional_names=("shared.test",)))
    assert "shared.test" in here.site("one.test").names
    agreed = {"one.test": {"one.test": 8, "shared.test": 9}, "two.test": {"two.test": 5, "shared.test": 5}}
    for site, numbers in agreed.items():
        before = here.declaration(site)
        assert isinstance(before, Declaration)
        here.adopt_declarations([SiteAdoption(site, NODE, before, replace(before, numbers=numbers))])
    assert "shared.test" in here.site("two.test").names
    assert "shared.test" not in here.site("one.test").names
    assert problem_codes(here, "one.test") == {"name_conflict"}
    here.add_site("three.test", SiteSettings(host="three.test"))
    added = here.declaration("three.test")
    assert isinstance(added, Declaration)
    assert added.numbers["three.test"] > 9, "what is new here comes after everything that was agreed"


def test_many_are_written_with_one_sync_and_published_at_once(
    there: StoreWriter, here: StoreWriter, ca: CertificateAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    issued = ca.issue("a.test", "*.many.test")
    sites = [f"s{number}.many.test" for number in range(30)]
    for site in sites:
        drop_pair(there, site, issued)
        check_until_decided(there, site)
    published: list[int] = []
    original = JournalWriter.publish

    def publish(writer: JournalWriter, changed: Any, removed: Any = ()) -> None:
        published.append(len(changed))
        original(writer, changed, removed)

    monkeypatch.setattr(JournalWriter, "publish", publish)
    syncs: list[Path] = []

    def sync(folder: Path) -> None:
        syncs.append(folder)
        sync_file_system(folder)

    monkeypatch.setattr(adoption, "sync_file_system", sync)
    assert set(outcomes(follow(there, here, *sites))) == {Outcome.DONE}
    assert [count for count in published if count] == [30, 30]
    assert len(syncs) == 3
    assert {served(here.layout.root, site) for site in sites} == {issued.fingerprint}


def test_without_space_for_the_journal_everything_is_as_before(
    there: StoreWriter, here: StoreWriter, ca: CertificateAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    follow(there, here, SITE)
    before = served(here.layout.root, SITE), live_number(here.layout, SITE)
    drop_pair(there, SITE, ca.issue(SITE))
    check_until_decided(there, SITE)
    here.adopt_declarations([settings_of(there, here, OTHER)])

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(JournalWriter, "publish", full)
        with pytest.raises(OSError, match="No space"):
            here.adopt_heads([head_of(there, here, site) for site in (SITE, OTHER)])
    assert (served(here.layout.root, SITE), live_number(here.layout, SITE)) == before
    assert live_number(here.layout, OTHER) is None
    assert outcomes(here.adopt_heads([head_of(there, here, site) for site in (SITE, OTHER)])) == [Outcome.DONE] * 2


def test_a_site_that_cannot_be_written_does_not_stop_the_others(there: StoreWriter, here: StoreWriter) -> None:
    here.adopt_declarations([settings_of(there, here, site) for site in (SITE, OTHER)])
    here.layout.versions(SITE).write_text("in the way")
    answers = here.adopt_heads([head_of(there, here, site) for site in (SITE, OTHER)])
    assert outcomes(answers) == [Outcome.FAILED, Outcome.DONE]
    assert problem_codes(here, SITE) == {"not_adopted_here"}


def test_old_versions_go_as_after_a_drop(there: StoreWriter, tmp_path: Path, ca: CertificateAuthority) -> None:
    with writing(tmp_path / "small", keep=2, clock=lambda: datetime(2027, 6, 1, tzinfo=UTC)) as small:
        for _ in range(4):
            drop_pair(there, SITE, ca.issue(SITE))
            check_until_decided(there, SITE)
            follow(there, small, SITE)
        assert len(small.versions(SITE)) == 2


def test_a_store_moved_without_its_journal_still_serves_it(
    there: StoreWriter, here: StoreWriter, tmp_path: Path
) -> None:
    follow(there, here, SITE)
    root = here.layout.root
    here.close()
    here.layout.snapshot_journal.unlink()
    shutil.copytree(root, tmp_path / "copy", symlinks=True)
    with writing(tmp_path / "copy"):
        assert served(tmp_path / "copy", SITE) == served(there.layout.root, SITE)
    lines = [json.loads(line) for line in (root / "state" / "declarations.jsonl").read_text().splitlines()]
    assert any(line[0] == SITE and line[1]["origin"] == "cluster" for line in lines if len(line) == 2)
    assert Store.open(tmp_path / "copy").site(SITE).names == (SITE,)
