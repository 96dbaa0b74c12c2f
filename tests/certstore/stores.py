"""Stores to test on: a writer whose drops settle quickly, drops written as people write them, and what to check after.

`SETTLE` is the time that a drop which checks unfinished waits here; the product's own is two seconds.
"""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from certstore.model.layout import Layout
from certstore.store.drops.processing import DropCheck
from certstore.store.reader import Store
from certstore.store.versions import live_number
from certstore.store.writer import StoreWriter
from tests.certificates import CertificateAuthority, Issued
from tests.deadlines import wait_for

SETTLE = timedelta(milliseconds=150)
SITE = "webmail.client-a.test"
OTHER = "mail.client-b.test"
MAIN_HOST = "mail.install.test"


def acquire(root: Path, **changes: Any) -> StoreWriter:
    """A writer as control has it, only more hasty."""
    arguments: dict[str, Any] = {"settle": SETTLE, "main_host": MAIN_HOST} | changes
    return StoreWriter.acquire(root, **arguments)


@contextmanager
def writing(root: Path, **changes: Any) -> Iterator[StoreWriter]:
    with acquire(root, **changes) as writer:
        yield writer


def drop(writer: Store, site: str, files: dict[str, bytes]) -> Path:
    """Put files into the site's folder, making it first."""
    folder = writer.layout.drop_folder(site)
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def drop_pair(writer: Store, site: str, issued: Issued) -> Path:
    return drop(writer, site, {"fullchain.pem": issued.fullchain_pem, "privkey.pem": issued.privkey_pem})


def check_until_decided(writer: StoreWriter, site: str) -> DropCheck:
    """As the watcher does: check again as long as the writer asks for it."""

    checks: list[DropCheck] = []

    def is_decided() -> bool:
        checks.append(writer.check(site))
        return checks[-1].again_in is None or checks[-1].result is not None

    wait_for(is_decided, f"a decision about the drop of {site}")
    return checks[-1]


def served(root: Path, site: str) -> str | None:
    """The fingerprint in the snapshot that workers read."""
    certificate = Store.open(root).site(site).certificate
    return certificate.fingerprint if certificate else None


def assert_live_is_whole(root: Path, site: str) -> int:
    """The live version holds a leaf and the key that belongs to it, in every file form; its number."""
    layout = Layout(root)
    number = live_number(layout, site)
    assert number is not None, f"nothing is live for {site}"
    # The link is followed once: between two files it may turn, as every reader of several files has to know.
    folder = layout.version(site, number)
    for chain, key in (("fullchain.pem", "privkey.pem"), ("combined.pem", "combined.pem")):
        # OpenSSL refuses a key that does not fit to the leaf.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(folder / chain, folder / key)
    leaf, chain_pem = (folder / "cert.pem").read_bytes(), (folder / "chain.pem").read_bytes()
    assert (folder / "fullchain.pem").read_bytes() == leaf + chain_pem
    assert (folder / "combined.pem").read_bytes() == (folder / "privkey.pem").read_bytes() + leaf + chain_pem
    return number


def problem_codes(store: Store, site: str) -> set[str]:
    return {str(problem.code) for problem in store.problems(site)}


def issue_later(ca: CertificateAuthority, *names: str, days: int = 0) -> Issued:
    """A certificate whose validity begins `days` after that of the ones issued without."""
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(days=30 - days)
    return ca.issue(*names, not_before=start, not_after=start + timedelta(days=90))
