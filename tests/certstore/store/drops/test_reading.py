"""Reading of drops: what counts, what is refused unread, and that nothing in a drop can hang or lead astray."""

import os
import pwd
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from certstore.store.drops.reading import MAX_BYTES, MAX_FILES, DropPlaces, is_drop_name, read_drop, stamps
from tests.certificates import CertificateAuthority

PEM = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


@pytest.fixture
def places(tmp_path: Path) -> DropPlaces:
    folder = tmp_path / "drop"
    folder.mkdir()
    return DropPlaces(folder, (tmp_path / "drop.pem",))


def names_read(places: DropPlaces) -> set[str]:
    return {file.name for file in read_drop(places).files}


def test_folder_and_file_beside_it_are_one_drop(places: DropPlaces) -> None:
    (places.folder / "any name.txt").write_bytes(PEM)
    places.files[0].write_bytes(PEM)
    assert names_read(places) == {"any name.txt", "drop.pem"}


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("fullchain.pem", True),
        ("bm_cert-1234", True),
        ("clé privée.key", True),
        ("site.yaml", False),
        (".hidden.pem", False),
        ("..data", False),
        ("key.pem~", False),
        ("#key.pem#", False),
        (".key.pem.swp", False),
        ("key.pem.tmp", False),
        ("key.pem.part", False),
        ("key.pem.filepart", False),
    ],
)
def test_what_editors_and_copying_programs_leave_beside_is_no_part_of_a_drop(name: str, counts: bool) -> None:
    assert is_drop_name(name) is counts


def test_notes_beside_a_certificate_do_not_change_the_drop(places: DropPlaces) -> None:
    (places.folder / "cert.pem").write_bytes(PEM)
    before = read_drop(places).digest
    (places.folder / "README.txt").write_text("renewed by Eve in June")
    assert names_read(places) == {"cert.pem"}
    assert read_drop(places).digest == before


def test_digest_is_that_of_contents_not_of_names_or_times(places: DropPlaces) -> None:
    (places.folder / "a.pem").write_bytes(PEM)
    (places.folder / "b.pem").write_bytes(PEM + b"2")
    before = read_drop(places).digest
    (places.folder / "a.pem").rename(places.folder / "z.pem")
    os.utime(places.folder / "b.pem", (0, 0))
    assert read_drop(places).digest == before
    (places.folder / "z.pem").write_bytes(PEM + b"3")
    assert read_drop(places).digest != before


def test_kubernetes_layout_is_read_through_its_links(places: DropPlaces) -> None:
    version = places.folder / "..2026_11_23"
    version.mkdir()
    (version / "tls.crt").write_bytes(PEM)
    (places.folder / "..data").symlink_to(version.name)
    (places.folder / "tls.crt").symlink_to("..data/tls.crt")
    assert names_read(places) == {"tls.crt"}


def test_certbot_links_are_followed(tmp_path: Path, places: DropPlaces) -> None:
    archive, live = tmp_path / "archive" / "x", tmp_path / "live" / "x"
    archive.mkdir(parents=True)
    live.mkdir(parents=True)
    (archive / "fullchain3.pem").write_bytes(PEM)
    (live / "fullchain.pem").symlink_to("../../archive/x/fullchain3.pem")
    (places.folder / "fullchain.pem").symlink_to(live / "fullchain.pem")
    before = stamps(places)
    assert names_read(places) == {"fullchain.pem"}
    (archive / "fullchain4.pem").write_bytes(PEM)
    (live / "fullchain.pem").unlink()
    (live / "fullchain.pem").symlink_to("../../archive/x/fullchain4.pem")
    assert stamps(places) != before


def test_a_folder_that_is_itself_a_link_is_read(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "all.pem").write_bytes(PEM)
    (tmp_path / "drop").symlink_to("elsewhere")
    assert names_read(DropPlaces(tmp_path / "drop", ())) == {"all.pem"}


def test_nothing_there_is_absent_and_so_are_notes_and_plain_folders_alone(places: DropPlaces) -> None:
    assert read_drop(places).is_absent
    (places.folder / "README").write_text("drop your files here")
    (places.folder / "lost+found").mkdir()
    assert read_drop(places).is_absent
    assert read_drop(DropPlaces(places.folder / "gone", ())).is_absent


def socket_at(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


ODD_ENTRIES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a pipe": (os.mkfifo, "a pipe"),
    "a socket": (socket_at, "a socket"),
    "a link to a device": (lambda path: path.symlink_to("/dev/zero"), "a device"),
    "a link to a terminal": (lambda path: path.symlink_to("/dev/tty"), "a device"),
    "a folder named like a certificate": (Path.mkdir, "a folder"),
    "a link to itself": (lambda path: path.symlink_to(path.name), "symbolic links"),
    "a link to nothing": (lambda path: path.symlink_to("/nowhere/x"), "is a link to a file that does not exist"),
    "a huge file": (lambda path: path.write_bytes(b"x" * 10_000_000), "10000000 bytes"),
}


@pytest.mark.parametrize(("make", "reason"), ODD_ENTRIES.values(), ids=ODD_ENTRIES)
@pytest.mark.timeout(10)
def test_what_is_no_readable_file_is_a_finding_and_never_waited_on(
    places: DropPlaces, make: Callable[[Path], object], reason: str
) -> None:
    (places.folder / "good.pem").write_bytes(PEM)
    make(places.folder / "x.pem")
    drop = read_drop(places)
    (finding,) = drop.findings
    assert reason in finding.message
    assert not drop.is_absent


@pytest.mark.timeout(10)
def test_a_file_of_the_system_that_has_no_end_is_read_as_empty(places: DropPlaces) -> None:
    (places.folder / "x.pem").symlink_to("/proc/kmsg")
    assert [file.content for file in read_drop(places).files] == [b""]


def test_a_thousand_files_are_refused_without_being_read(places: DropPlaces) -> None:
    for number in range(1000):
        (places.folder / f"{number}.pem").write_bytes(PEM)
    drop = read_drop(places)
    assert drop.files == ()
    assert f"more than {MAX_FILES} files" in drop.findings[0].message


def test_all_files_together_are_bounded(places: DropPlaces) -> None:
    for number in range(6):
        (places.folder / f"{number}.pem").write_bytes(PEM * 12_000)
    drop = read_drop(places)
    assert sum(len(file.content) for file in drop.files) <= MAX_BYTES
    assert {str(finding.code) for finding in drop.findings} == {"too_large"}


def test_file_that_changes_while_it_is_read_is_not_steady(places: DropPlaces, monkeypatch: pytest.MonkeyPatch) -> None:
    path = places.folder / "cert.pem"
    path.write_bytes(PEM)
    read = os.read

    def growing(descriptor: int, size: int) -> bytes:
        with path.open("ab") as file:
            file.write(b"x")
        return read(descriptor, size)

    with monkeypatch.context() as patched:
        patched.setattr(os, "read", growing)
        assert not read_drop(places).is_steady
    assert read_drop(places).is_steady


def test_names_that_are_no_text_do_no_harm(places: DropPlaces, ca: CertificateAuthority) -> None:
    odd = os.fsencode(places.folder) + b"/\xff\xfe\n\x1b[31m.pem"
    with open(odd, "wb") as file:  # noqa: PTH123  a name that pathlib has no text for
        file.write(ca.issue("a.test").combined_pem)
    drop = read_drop(places)
    assert len(drop.files) == 1
    assert drop.files[0].name.isprintable()


# As another user: root may read everything


AS_NOBODY = """
import os, sys
from pathlib import Path
from certstore.store.drops.reading import DropPlaces, read_drop
os.setgid(65534); os.setuid(65534)
drop = read_drop(DropPlaces(Path(sys.argv[1]), (Path(sys.argv[2]),)))
print(len(drop.files), *(finding.message for finding in drop.findings), sep="\\n")
"""


def read_as_nobody(places: DropPlaces) -> list[str]:
    command = [sys.executable, "-c", AS_NOBODY, str(places.folder), str(places.files[0])]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.fixture
def open_places() -> Iterator[DropPlaces]:
    """Where every user may go: pytest's own folders are private."""
    with tempfile.TemporaryDirectory(prefix="drop-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "drop").mkdir()
        yield DropPlaces(folder / "drop", (folder / "drop.pem",))


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")


@needs_root
def test_unreadable_file_is_refused_with_the_command_that_mends_it(open_places: DropPlaces) -> None:
    key = open_places.folder / "my key.pem"
    key.write_bytes(PEM)
    key.chmod(0o600)
    count, message = read_as_nobody(open_places)
    nobody = pwd.getpwuid(65534).pw_name
    assert count == "0"
    assert f"setfacl -m u:{nobody}:r '{key}'" in message
    assert f"chown {nobody}" in message
    key.chmod(0o644)
    assert read_as_nobody(open_places) == ["1"]


@needs_root
def test_unreadable_folder_behind_a_link_that_leads_out_is_in_no_command(open_places: DropPlaces) -> None:
    hidden = open_places.folder.parent / "letsencrypt"
    hidden.mkdir()
    (hidden / "privkey.pem").write_bytes(PEM)
    hidden.chmod(0o700)
    (open_places.folder / "privkey.pem").symlink_to(hidden / "privkey.pem")
    _, message = read_as_nobody(open_places)
    assert "leads out of its folder" in message
    assert "setfacl" not in message


@needs_root
def test_folder_that_may_not_be_listed_is_a_finding(open_places: DropPlaces) -> None:
    (open_places.folder / "x.pem").write_bytes(PEM)
    open_places.folder.chmod(0o700)
    count, message = read_as_nobody(open_places)
    assert count == "0"
    assert ":rx " in message
