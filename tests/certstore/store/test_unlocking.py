"""PKCS #12 files and encrypted keys are opened in a child process: what they hold, and those that never end."""

import contextlib
import subprocess
import sys
import time
from datetime import UTC, datetime

import pytest

from certstore.model.certificate.bundle import CertificateBundle, Refused, read_bundle
from certstore.model.certificate.contents import TooMuchWork, unlock_here
from certstore.model.certificate.dropped_file import DroppedFile
from certstore.store import unlocking
from certstore.store.unlocking import Effort, NeedsEffort, Unlocker
from tests.certificates import CertificateAuthority
from tests.hostile_files import PASSWORD, with_hidden_rounds, with_open_rounds, with_scrypt

CA = CertificateAuthority()
ONE = CA.issue("a.test")


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """All effort there is takes half a second."""
    monkeypatch.setattr(Effort.FULL, "_value_", 0.5)


@pytest.mark.parametrize("password", [PASSWORD, None], ids=["with a password", "without one"])
def test_a_pkcs12_file_holds_what_it_holds_for_the_library(password: bytes | None) -> None:
    content = ONE.pkcs12(password)
    assert Unlocker()(content, password) == unlock_here(content, password)
    assert Unlocker()(content, password).certificates[0] == ONE.cert_der
    bundle = read_bundle([DroppedFile("a.p12", content)], password=password, now=datetime.now(UTC), unlock=Unlocker())
    assert isinstance(bundle, CertificateBundle)


@pytest.mark.parametrize("is_traditional", [False, True], ids=["PKCS #8", "RFC 1421"])
def test_an_encrypted_key_is_the_key_without_encryption(is_traditional: bool) -> None:
    content = ONE.encrypted_privkey_pem(PASSWORD, traditional=is_traditional)
    assert Unlocker()(content, PASSWORD).keys == (ONE.privkey_der,)
    files = [DroppedFile("key.pem", content), DroppedFile("chain.pem", ONE.fullchain_pem)]
    bundle = read_bundle(files, password=PASSWORD, now=datetime.now(UTC), unlock=Unlocker())
    assert isinstance(bundle, CertificateBundle)


@pytest.mark.parametrize(
    "content",
    [
        ONE.pkcs12(PASSWORD),
        ONE.pkcs12(PASSWORD)[:-9],
        b"0\x03\x02\x01\x03",
        ONE.encrypted_privkey_pem(PASSWORD),
        with_open_rounds(1000),
    ],
    ids=["whole", "cut", "next to nothing", "a key", "a key of zeros"],
)
def test_what_does_not_open_is_reported(content: bytes) -> None:
    with pytest.raises(ValueError, match="does not open"):
        Unlocker()(content, b"wrong")


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(
    "content",
    [with_hidden_rounds(2**31 - 1), with_open_rounds(2**31 - 1), with_scrypt(1 << 14, 1 << 16)],
    ids=["rounds that only the password shows", "rounds that everybody sees", "scrypt"],
)
def test_hashing_without_end_ends_with_the_child(content: bytes) -> None:
    begun = time.process_time()
    with pytest.raises(TooMuchWork):
        Unlocker()(content, PASSWORD)
    refused = read_bundle(
        [DroppedFile(f"{number}.p12", content) for number in range(3)],
        password=PASSWORD, now=datetime.now(UTC), unlock=Unlocker(),
    )  # fmt: skip
    assert time.process_time() - begun < 1, "nothing was computed here"
    assert isinstance(refused, Refused)
    assert "rounds of password hashing" in refused.findings[0].message


LARGEST_CHILD = """
import contextlib, resource, sys
from certstore.model.certificate.contents import TooMuchWork
from certstore.store.unlocking import Effort, NeedsEffort, Unlocker
with contextlib.suppress(TooMuchWork, ValueError):
    Unlocker()(sys.stdin.buffer.read(), sys.argv[1].encode())
    sys.exit("it was opened")
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
"""


def test_hashing_that_needs_much_memory_is_refused_it() -> None:
    """Asked of a process without other children: the system knows the largest of all only."""
    program = [sys.executable, "-c", LARGEST_CHILD, PASSWORD.decode()]
    ended = subprocess.run(program, input=with_scrypt(1 << 24, 1), capture_output=True, check=True)  # 16 GB
    assert int(ended.stdout) <= unlocking.MEMORY


@pytest.mark.usefixtures("hasty")
def test_all_files_of_one_reading_share_the_time() -> None:
    unlock = Unlocker()

    def open_many() -> None:
        for _ in range(1000):
            with contextlib.suppress(ValueError):
                unlock(with_open_rounds(300_000), PASSWORD)

    with pytest.raises(TooMuchWork):
        open_many()
    with pytest.raises(TooMuchWork):
        unlock(ONE.pkcs12(PASSWORD), PASSWORD)
    assert Unlocker()(ONE.pkcs12(PASSWORD), PASSWORD).keys == (ONE.privkey_der,), "another reading has its own time"


@pytest.mark.parametrize(
    ("effort", "content", "needed"),
    [(Effort.NONE, ONE.pkcs12(PASSWORD), Effort.SHORT), (Effort.SHORT, with_open_rounds(2**31 - 1), Effort.FULL)],
    ids=["anything that is locked", "hashing without end"],
)
def test_with_less_effort_it_is_said_that_more_is_needed(effort: Effort, content: bytes, needed: Effort) -> None:
    with pytest.raises(NeedsEffort) as raised:
        Unlocker(effort)(content, PASSWORD)
    assert raised.value.effort is needed


def test_a_short_effort_opens_what_programs_write() -> None:
    assert Unlocker(Effort.SHORT)(ONE.pkcs12(PASSWORD), PASSWORD).keys == (ONE.privkey_der,)


def test_a_machine_that_is_too_busy_is_not_the_files_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unlocking, "WALL_SECONDS", 0.001)
    with pytest.raises(OSError, match="too busy"):
        Unlocker()(ONE.pkcs12(PASSWORD), PASSWORD)
