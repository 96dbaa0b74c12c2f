"""What a tenant may say in a site.yaml of their own, what an administrator has to adopt, and how they get there."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from certstore.model.renewal.preflight_facts import CannotProve
from certstore.model.settings.models import NAMES_LIMIT, AcmeSettings, SiteSettings, Source
from certstore.model.snapshot import MAIN
from certstore.renewal.sites import RenewalSites
from certstore.store.errors import InvalidSite
from certstore.store.writer import StoreWriter
from tests.certificates import CertificateAuthority
from tests.certstore.stores import OTHER, SITE, check_until_decided, drop, drop_pair, problem_codes, writing
from tests.deadlines import wait_for

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")

TENANT = 4711
EVERYTHING = f"""\
host: {OTHER}
additional_names: [shop.client-c.test, autodiscover.client-a.test]
upstream: {{url: "https://10.0.0.5", client_cert: key.pem, ca_file: /etc/ssl/ca.pem}}
inspect: true
contact: [ops@client-a.test]
key_type: ec384
profile: shortlived
certificate: file
"""


def message(writer: StoreWriter, site: str = SITE) -> str:
    return "; ".join(each.message for each in writer.problems(site) if each.code == "not_adopted")


# Who could write the file

Change = Callable[[Path, Path], None]


def nothing(folder: Path, elsewhere: Path) -> None:
    pass


def sticky(folder: Path, elsewhere: Path) -> None:
    """As kubelet mounts volumes."""
    folder.chmod(0o1777)


def file_given_away(folder: Path, elsewhere: Path) -> None:
    os.chown(folder / "site.yaml", TENANT, -1)


def file_for_everybody(folder: Path, elsewhere: Path) -> None:
    (folder / "site.yaml").chmod(0o666)


def file_for_a_group(folder: Path, elsewhere: Path) -> None:
    os.chown(folder / "site.yaml", 0, TENANT)
    (folder / "site.yaml").chmod(0o664)


def folder_given_away(folder: Path, elsewhere: Path) -> None:
    os.chown(folder, TENANT, -1)


def folder_for_a_group(folder: Path, elsewhere: Path) -> None:
    os.chown(folder, 0, TENANT)
    folder.chmod(0o775)


def folder_for_everybody(folder: Path, elsewhere: Path) -> None:
    folder.chmod(0o777)


def all_folders_for_everybody(folder: Path, elsewhere: Path) -> None:
    folder.parent.chmod(0o777)


def a_second_name(folder: Path, elsewhere: Path) -> None:
    (elsewhere / "other").hardlink_to(folder / "site.yaml")


def a_link_to_the_tenants_folder(folder: Path, elsewhere: Path) -> None:
    (folder / "site.yaml").rename(elsewhere / "settings.yaml")
    (folder / "site.yaml").symlink_to(elsewhere / "settings.yaml")
    os.chown(elsewhere, TENANT, -1)


def a_folder_in_the_tenants_folder(folder: Path, elsewhere: Path) -> None:
    """The tenant can't write the folder, but can put another one in its place."""
    shutil.move(folder, elsewhere / "drops")
    folder.symlink_to(elsewhere / "drops")
    os.chown(elsewhere, TENANT, -1)


def a_link_of_the_administrators(folder: Path, elsewhere: Path) -> None:
    (folder / "site.yaml").rename(elsewhere / "settings.yaml")
    (folder / "site.yaml").symlink_to(os.path.relpath(elsewhere / "settings.yaml", folder))


OURS = (nothing, sticky, a_link_of_the_administrators)
THEIRS = (
    file_given_away, file_for_everybody, file_for_a_group, folder_given_away, folder_for_a_group, folder_for_everybody,
    all_folders_for_everybody, a_second_name, a_link_to_the_tenants_folder,
    a_folder_in_the_tenants_folder,
)  # fmt: skip


def laid_down(writer: StoreWriter, tmp_path: Path, change: Change, text: str = EVERYTHING) -> Path:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    folder = drop(writer, SITE, {"site.yaml": text.encode()})
    change(folder, elsewhere)
    return folder


@pytest.mark.parametrize("change", OURS, ids=lambda change: change.__name__)
def test_a_file_that_nobody_else_may_write_counts_in_full(tmp_path: Path, change: Change) -> None:
    with writing(tmp_path / "store") as writer:
        laid_down(writer, tmp_path, change)
        writer.check(SITE)
        settings = writer.settings(SITE)
        assert settings is not None
        assert (settings.host, settings.inspect, message(writer)) == (OTHER, True, "")


@pytest.mark.parametrize("change", THEIRS, ids=lambda change: change.__name__)
def test_of_a_file_that_somebody_else_may_write_the_tenants_keys_count(tmp_path: Path, change: Change) -> None:
    with writing(tmp_path / "store") as writer:
        laid_down(writer, tmp_path, change)
        writer.check(SITE)
        settings = writer.settings(SITE)
        assert settings is not None
        assert settings.names == (SITE,)
        assert (settings.upstream, settings.inspect) == (None, False)
        assert settings.contact == ("ops@client-a.test",)
        assert (settings.key_type, settings.profile) == ("ec384", "shortlived")
        assert "Not applied: host, additional_names, upstream, inspect" in message(writer)
        assert f"certedge site adopt {SITE}" in message(writer)
        assert writer.site(SITE).upstreams is None
    with writing(tmp_path / "store") as writer:
        assert writer.site(SITE).names == (SITE,), "a restart adopts nothing"
        writer.check(SITE)
        assert "not_adopted" in problem_codes(writer, SITE)


def test_a_file_that_is_there_at_the_first_start_does_not_count_in_full_either(tmp_path: Path) -> None:
    folder = tmp_path / "store" / "domains" / SITE
    folder.mkdir(parents=True)
    (folder / "site.yaml").write_text(EVERYTHING)
    os.chown(folder, TENANT, -1)
    with writing(tmp_path / "store") as writer:
        assert writer.site(SITE).names == (SITE,)
        writer.check(SITE)
        assert problem_codes(writer, SITE) == {"not_adopted"}


# The way out


def test_an_adopted_file_counts_until_the_tenant_changes_it(tmp_path: Path) -> None:
    with writing(tmp_path / "store") as writer:
        text = f"host: {SITE}\nadditional_names: [a.client-a.test]\n"
        folder = laid_down(writer, tmp_path, folder_given_away, text)
        writer.check(SITE)
        assert writer.adopt_site(SITE).names == (SITE, "a.client-a.test")
        writer.check(SITE)
        assert problem_codes(writer, SITE) == set()
        (folder / "site.yaml").write_text(text + "contact: [ops@client-a.test]\ninspect: true\n")
        writer.check(SITE)
        settings = writer.settings(SITE)
        assert settings is not None
        assert settings.contact == ("ops@client-a.test",)
        assert (settings.names, settings.inspect) == ((SITE, "a.client-a.test"), False), "what was adopted stays"
        assert "Not applied: inspect." in message(writer)
        (folder / "site.yaml").write_text(text)
        writer.check(SITE)
        assert problem_codes(writer, SITE) == set()


def test_a_folder_that_is_taken_back_counts_without_a_change_of_the_file(tmp_path: Path) -> None:
    with writing(tmp_path / "store") as writer:
        folder = laid_down(writer, tmp_path, folder_given_away)
        writer.check(SITE)
        os.chown(folder, 0, 0)
        wait_for(lambda: writer.check(SITE).again_in is None, "the names to settle")
        assert writer.site(SITE).host == OTHER
        assert problem_codes(writer, SITE) == set()


def test_what_a_command_has_set_stays_in_a_tenants_folder(tmp_path: Path) -> None:
    with writing(tmp_path / "store") as writer:
        os.chown(drop(writer, SITE, {}), TENANT, TENANT)
        writer.check(SITE)
        writer.set_site(SITE, {"upstream": "http://10.0.0.5"})
        writer.check(SITE)
        (writer.layout.site_yaml(SITE)).write_text(f"host: {SITE}\nkey_type: ec384\n")
        writer.check(SITE)
        settings = writer.settings(SITE)
        assert settings is not None
        assert settings.key_type == "ec384"
        assert settings.upstream is not None
        assert "Not applied: upstream." in message(writer)


def test_a_key_that_is_no_host_name_is_no_site_before_it_is_adopted(tmp_path: Path) -> None:
    with writing(tmp_path / "store") as writer:
        os.chown(drop(writer, "client-a", {"site.yaml": f"host: {SITE}\n".encode()}), TENANT, TENANT)
        writer.check("client-a")
        assert "client-a" not in writer.sites()
        assert "site adopt client-a" in writer.problems("client-a")[0].message
        assert writer.adopt_site("client-a").names == (SITE,)
        writer.check("client-a")
        assert problem_codes(writer, "client-a") == set()


@pytest.mark.parametrize("site", ["no.such.test", "../etc"])
def test_what_is_not_there_can_not_be_adopted(tmp_path: Path, site: str) -> None:
    with writing(tmp_path / "store") as writer, pytest.raises(InvalidSite):
        writer.adopt_site(site)


# Main


def test_main_keeps_its_names_where_others_may_write_its_folder(tmp_path: Path, ca: CertificateAuthority) -> None:
    with writing(tmp_path / "store") as writer:
        folder = drop(writer, MAIN, {"site.yaml": b"host: evil.test\n"})
        os.chown(folder, TENANT, TENANT)
        writer.check(MAIN)
        assert (writer.settings(MAIN), problem_codes(writer, MAIN)) == (None, {"not_adopted"})


@pytest.mark.parametrize("is_shared", [True, False], ids=["domains/ for everybody", "domains/ of the administrator"])
def test_a_folder_of_anybody_takes_no_name_of_main(tmp_path: Path, ca: CertificateAuthority, is_shared: bool) -> None:
    """Where only an administrator makes folders, the name of one is the administrator's word, whoever writes in it."""
    with writing(tmp_path / "store") as writer:
        drop_pair(writer, MAIN, ca.issue("mail.install.test", "*.install.test"))
        check_until_decided(writer, MAIN)
        for name, text in {"shop.install.test": None, "blog.install.test": b"host: blog.install.test\n"}.items():
            os.chown(drop(writer, name, {} if text is None else {"site.yaml": text}), TENANT, TENANT)
        writer.layout.domains.chmod(0o777 if is_shared else 0o755)
        for name in ("shop.install.test", "blog.install.test"):
            writer.check(name)
        assert len(writer.sites()) == (1 if is_shared else 3)
    with writing(tmp_path / "store") as writer:
        assert len(writer.sites()) == (1 if is_shared else 3)


@pytest.mark.parametrize("is_shared", [True, False], ids=["domains/ for everybody", "domains/ of the administrator"])
def test_a_folder_of_anybody_takes_no_name_of_a_wildcard(tmp_path: Path, is_shared: bool) -> None:
    """The site with the wildcard is there already, and an administrator has declared its names."""
    with writing(tmp_path / "store") as writer:
        early = drop(writer, "early.client-a.test", {})
        os.chown(early, TENANT, TENANT)
        writer.check("early.client-a.test")
        names = ("client-a.test", "*.client-a.test")
        writer.add_site("client-a.test", SiteSettings(host=names[0], additional_names=names[1:]))
        for name in ("shop.client-a.test", "deep.shop.client-a.test"):
            os.chown(drop(writer, name, {}), TENANT, TENANT)
        writer.layout.domains.chmod(0o777 if is_shared else 0o755)
        for name in ("shop.client-a.test", "deep.shop.client-a.test"):
            writer.check(name)
        expected = {MAIN, "client-a.test", "early.client-a.test", "deep.shop.client-a.test"}
        assert set(writer.sites()) == expected | (set() if is_shared else {"shop.client-a.test"})
    with writing(tmp_path / "store") as writer:
        assert set(writer.sites()) == expected | (set() if is_shared else {"shop.client-a.test"})


@pytest.mark.parametrize("is_shared", [True, False], ids=["domains/ for everybody", "domains/ of the administrator"])
def test_no_dns_record_proves_a_name_that_a_tenant_made_up(tmp_path: Path, is_shared: bool) -> None:
    """The edge may write the zones of all clients: by a folder's name, one could have another's proven."""
    made_up, given = "www.client-b.test", "www.client-a.test"
    with writing(tmp_path / "store") as writer:
        writer.layout.domains.chmod(0o777 if is_shared else 0o755)
        for name in (made_up, given):
            os.chown(drop(writer, name, {"site.yaml": f"host: {name}\ncertificate: acme\n".encode()}), TENANT, TENANT)
            writer.check(name)
        writer.add_site("www.client-c.test", SiteSettings(host="www.client-c.test", certificate=Source.ACME))
        writer.adopt_site(given)
        assert set(barred_ways(writer, made_up)) == ({"dns-01", "dns-persist-01"} if is_shared else set())
    with writing(tmp_path / "store") as writer:
        assert bool(barred_ways(writer, made_up)) is is_shared, "not even after a restart"
        assert not barred_ways(writer, given), "an administrator adopted it"
        writer.set_site(given, {"key_type": "ec384"})
        assert not barred_ways(writer, given)
        assert not barred_ways(writer, "www.client-c.test"), "an administrator added it"
        assert not barred_ways(writer, MAIN)
        writer.remove_site(given)
        assert bool(barred_ways(writer, given)) is is_shared, "whoever makes it again has not been named"


def barred_ways(writer: StoreWriter, site: str) -> dict[str, CannotProve]:
    return RenewalSites(writer, AcmeSettings(), ()).barred(site)


# Paths and numbers


@pytest.mark.parametrize(
    "upstream",
    [
        {"url": "https://10.0.0.5", "client_cert": "{store}/archive/main/1/combined.pem"},
        {"url": "https://10.0.0.5", "client_cert": "{store}/../link/main/combined.pem"},
        {"url": "https://10.0.0.5", "client_cert": "../store/live/main/combined.pem"},
        {"url": "unix:{store}/control.sock"},
        {"url": "unix:{store}/../link/../control.sock"},
    ],
    ids=["a key", "a key by a link", "a key by a relative path", "the control socket", "the control socket by a link"],
)
def test_no_upstream_leads_into_the_store(tmp_path: Path, upstream: dict[str, str]) -> None:
    """Relative paths start where edge.yaml lies, which need not be beside the store."""
    (tmp_path / "etc").mkdir()
    with writing(tmp_path / "store", base=tmp_path / "etc") as writer:
        store = writer.layout.root
        (tmp_path / "link").symlink_to(store / "live")
        chosen = {key: value.replace("{store}", str(store)) for key, value in upstream.items()}
        settings = SiteSettings.model_validate({"host": SITE, "upstream": chosen})
        with pytest.raises(InvalidSite, match="lies in the store"):
            writer.add_site(SITE, settings)
        drop(writer, SITE, {"site.yaml": f"host: {SITE}\nupstream: {chosen}\n".encode()})
        writer.check(SITE)
        assert SITE not in writer.sites()
        assert problem_codes(writer, SITE) == {"settings_invalid"}
        with pytest.raises(InvalidSite, match="lies in the store"):
            writer.adopt_site(SITE)


def test_a_site_has_at_most_a_hundred_names(tmp_path: Path, ca: CertificateAuthority) -> None:
    many = [f"n{number}.client-a.test" for number in range(300)]
    assert len(SiteSettings(host=SITE, additional_names=tuple(many[: NAMES_LIMIT - 1])).names) == NAMES_LIMIT
    with pytest.raises(ValueError, match="at most 100 names"):
        SiteSettings(host=SITE, additional_names=tuple(many[:NAMES_LIMIT]))
    with writing(tmp_path / "store") as writer:
        drop_pair(writer, SITE, ca.issue(SITE, *many[:99]))
        check_until_decided(writer, SITE)
        assert len(writer.site(SITE).names) <= NAMES_LIMIT
