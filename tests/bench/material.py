"""Certificates of the main site and of many sites, one file each (key, leaf, chain), the same for every server."""

from __future__ import annotations

from pathlib import Path

from tests.certificates import CertificateAuthority, Issued, make_key

MAIN_HOST = "edge.test"
KEYS = 8
"""The sites share a few keys, because creating keys is not measured."""


class SiteFiles:
    """`main_path`, and one file per site below `folder`; grows on demand, never shrinks."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "sites"
        self.main_path = root / "main" / "main.pem"
        self.folder.mkdir(parents=True)
        self.main_path.parent.mkdir()
        self._ca = CertificateAuthority("Benchmark CA")
        self._keys = [make_key() for _ in range(KEYS)]
        # wrk sends the URL's host as SNI, and `localhost` is the one name that resolves everywhere.
        self.main = self._ca.issue(MAIN_HOST, "localhost", private_key=self._keys[0])
        self.main_path.write_bytes(self.main.combined_pem)
        self.hosts: list[str] = []
        self.fingerprints: dict[str, str] = {MAIN_HOST: self.main.fingerprint}

    @property
    def count(self) -> int:
        return len(self.hosts)

    def path(self, host: str) -> Path:
        return self.folder / f"{host}.pem"

    def grow_to(self, count: int) -> None:
        """Issue and write what is missing for `count` sites."""
        for number in range(len(self.hosts), count):
            host = f"webmail.client-{number}.test"
            self.hosts.append(host)
            self.put(host, self.issue(host))

    def issue(self, host: str) -> Issued:
        """A new certificate for the host; nothing is written."""
        return self._ca.issue(host, private_key=self._keys[hash(host) % KEYS])

    def put(self, host: str, issued: Issued) -> None:
        """Replace the site's file by rename, as a careful dropper does."""
        replace_file(self.path(host), issued.combined_pem)
        self.fingerprints[host] = issued.fingerprint


def replace_file(path: Path, content: bytes) -> None:
    """Write a hidden file beside it, which no server reads as a certificate, then rename it."""
    half = path.parent / f".{path.name}.new"
    half.write_bytes(content)
    half.rename(path)
