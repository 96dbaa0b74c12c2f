import os
from pathlib import Path

import pytest

from certstore.cli.export import CURRENT, ExportRefused, export_live
from certstore.model.certificate.dropped_file import DroppedFile
from certstore.model.layout import Layout
from certstore.model.settings.models import SiteSettings
from certstore.store.writer import StoreWriter
from tests.certificates import CertificateAuthority, Issued

HOST = "webmail.client-a.test"
CA = CertificateAuthority()
FILES = {"fullchain.pem", "privkey.pem", "chain.pem", "cert.pem", "combined.pem"}


def take_in(root: Path, *issued: Issued, site: str = HOST) -> Layout:
    """The site's next version in the store at `root`."""
    with StoreWriter.acquire(root) as writer:
        if site not in writer.sites():
            writer.add_site(site, SiteSettings(host=site))
        files = [DroppedFile(f"{position}.pem", each.combined_pem) for position, each in enumerate(issued)]
        assert writer.install_files(site, files, source="test").version is not None
        return writer.layout


def visible(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


def test_an_export_holds_the_live_files_for_nobody_else_to_read(tmp_path: Path) -> None:
    issued = CA.issue(HOST)
    layout = take_in(tmp_path / "store", issued)
    done = export_live(layout, HOST, tmp_path / "out")
    assert done.changed
    assert visible(tmp_path / "out") == FILES
    assert (tmp_path / "out/privkey.pem").read_bytes() == issued.privkey_pem
    assert (tmp_path / "out/fullchain.pem").read_bytes() == issued.fullchain_pem
    assert {(tmp_path / "out" / name).stat().st_mode & 0o777 for name in FILES} == {0o600}
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o700


def test_a_second_export_of_the_same_version_touches_nothing(tmp_path: Path) -> None:
    layout = take_in(tmp_path / "store", CA.issue(HOST))
    export_live(layout, HOST, tmp_path / "out")
    before = (tmp_path / "out").stat().st_mtime_ns
    assert not export_live(layout, HOST, tmp_path / "out").changed
    assert (tmp_path / "out").stat().st_mtime_ns == before


def test_a_reader_with_the_old_set_open_keeps_it_whole(tmp_path: Path) -> None:
    first = CA.issue(HOST)
    layout = take_in(tmp_path / "store", first)
    export_live(layout, HOST, tmp_path / "out")
    old_set = os.open(tmp_path / "out" / CURRENT, os.O_PATH | os.O_DIRECTORY)
    second = CA.issue(HOST)
    take_in(tmp_path / "store", second)
    export_live(layout, HOST, tmp_path / "out")
    try:
        assert Path(f"/proc/self/fd/{old_set}/privkey.pem").read_bytes() == first.privkey_pem
    finally:
        os.close(old_set)
    assert (tmp_path / "out/privkey.pem").read_bytes() == second.privkey_pem
    assert (tmp_path / "out/cert.pem").read_bytes() == second.cert_pem


def test_sets_older_than_the_previous_one_are_removed(tmp_path: Path) -> None:
    for _ in range(4):
        layout = take_in(tmp_path / "store", CA.issue(HOST))
        export_live(layout, HOST, tmp_path / "out")
    assert len([path for path in (tmp_path / "out").iterdir() if path.name.startswith(".set-")]) == 2


def test_the_files_of_a_second_key_come_and_go_with_it(tmp_path: Path) -> None:
    layout = take_in(tmp_path / "store", CA.issue(HOST), CA.issue(HOST, key_type="rsa2048"))
    export_live(layout, HOST, tmp_path / "out")
    assert visible(tmp_path / "out") == FILES | {"fullchain-rsa.pem", "privkey-rsa.pem"}
    take_in(tmp_path / "store", CA.issue(HOST))
    export_live(layout, HOST, tmp_path / "out")
    assert visible(tmp_path / "out") == FILES


def test_files_that_no_export_wrote_are_never_replaced(tmp_path: Path) -> None:
    layout = take_in(tmp_path / "store", CA.issue(HOST))
    (tmp_path / "out").mkdir()
    (tmp_path / "out/privkey.pem").write_text("precious")
    with pytest.raises(ExportRefused, match=r"no export wrote: privkey\.pem"):
        export_live(layout, HOST, tmp_path / "out")
    assert (tmp_path / "out/privkey.pem").read_text() == "precious"
    assert visible(tmp_path / "out") == {"privkey.pem"}


def test_a_folder_with_another_sites_certificate_is_left_alone(tmp_path: Path) -> None:
    layout = take_in(tmp_path / "store", CA.issue(HOST))
    take_in(tmp_path / "store", CA.issue("b.test"), site="b.test")
    export_live(layout, HOST, tmp_path / "out")
    with pytest.raises(ExportRefused, match=HOST):
        export_live(layout, "b.test", tmp_path / "out")


def test_a_site_without_a_certificate_of_its_own_has_nothing_to_export(tmp_path: Path) -> None:
    with StoreWriter.acquire(tmp_path / "store") as writer:
        writer.add_site(HOST, SiteSettings(host=HOST))
    with pytest.raises(ExportRefused):
        export_live(Layout(tmp_path / "store"), HOST, tmp_path / "out")
    assert not (tmp_path / "out").exists()
