"""Which versions of a site were revoked, and which of its others could be served: read and noted beside their files.

Asks no CA.
"""

from __future__ import annotations

import json
from datetime import datetime

from certstore.files.atomic import replace_file, sync_folder
from certstore.model.certificate.x509_facts import read_pem
from certstore.model.layout import CERT, REVOKED, REVOKING, Layout
from certstore.model.names import covers
from certstore.model.renewal.revocation import Candidate, Revocation
from certstore.model.version import Version
from certstore.store.versions import read_versions


def note_revoked(layout: Layout, version: Version, revocation: Revocation) -> None:
    """The note goes when the version goes. Raises OSError."""
    path = layout.version(version.site, version.number) / REVOKED
    content = json.dumps(revocation.to_json(), indent=1).encode() + b"\n"
    replace_file(path, content, 0o600, layout.temporary)


def read_revocation(layout: Layout, site: str, number: int) -> Revocation | None:
    """None where it was not revoked, or the note can't be read."""
    try:
        return Revocation.from_json(json.loads((layout.version(site, number) / REVOKED).read_bytes()))
    except (OSError, ValueError, RecursionError):
        return None


def note_begun(layout: Layout, version: Version, revocation: Revocation) -> None:
    """Pin the version before anything else becomes live: a command that is repeated means this one still.
    Raises OSError."""
    path = layout.version(version.site, version.number) / REVOKING
    content = json.dumps(revocation.to_json(), indent=1).encode() + b"\n"
    replace_file(path, content, 0o600, layout.temporary)


def forget_begun(layout: Layout, version: Version) -> None:
    """Raises OSError."""
    folder = layout.version(version.site, version.number)
    try:
        (folder / REVOKING).unlink()
    except FileNotFoundError:
        return
    sync_folder(folder)


def find_begun(layout: Layout, site: str) -> Version | None:
    """The version whose revocation began and did not end: the process was killed."""
    begun = [each for each in read_versions(layout, site) if (layout.version(site, each.number) / REVOKING).exists()]
    return max(begun, key=lambda each: each.number, default=None)


def candidates(layout: Layout, version: Version, host: str, now: datetime) -> list[Candidate]:
    """The site's other versions."""
    key = _key(layout, version)
    found = []
    for each in read_versions(layout, version.site):
        if each.number == version.number:
            continue
        is_usable = (
            each.not_before <= now < each.not_after
            and covers(each.dns_names, host)
            and each.fingerprint != version.fingerprint
            and read_revocation(layout, each.site, each.number) is None
        )
        found.append(Candidate(each.number, is_usable, key != b"" and _key(layout, each) == key))
    return found


def _key(layout: Layout, version: Version) -> bytes:
    """Its public key; empty where it can't be read."""
    try:
        content = (layout.version(version.site, version.number) / CERT).read_bytes()
        return read_pem(content)[0].spki
    except (OSError, ValueError, IndexError):
        return b""
