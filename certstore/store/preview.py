"""Reads uploaded files for a site without changing anything: what they hold, whether they would be accepted, and which
version they would replace.

Reading is the slow part, which strangers' files can make even slower, and it needs no lock. What was read once can be
installed without reading it again. Knows nothing of the people who upload.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from certstore.model.certificate.bundle import Archive, CertificateBundle, Refused, choose_bundle, no_archive
from certstore.model.certificate.contents import Contents, Unlock, read_contents
from certstore.model.certificate.dropped_file import DroppedFile
from certstore.model.site_registry import KnownSite
from certstore.model.version import Version


@dataclass(frozen=True, slots=True)
class Preview:
    """Uploaded files as they were read and checked for one site. Holds private keys: keep it in memory only.

    `verdict` is the bundle that would be installed, or the refusal. `forced` is the bundle that `force=True` would
    install, where a person may overrule the refusal; otherwise None. `names` are the site's names, of which the
    certificate has to cover at least one; `replaces` is the version that is live now.
    """

    site: str
    names: tuple[str, ...]
    verdict: CertificateBundle | Refused
    forced: CertificateBundle | None
    replaces: Version | None
    contents: Contents = field(repr=False)


def read_upload(
    known: KnownSite,
    files: Iterable[DroppedFile],
    password: bytes | None,
    *,
    live: Version | None,
    now: datetime,
    unlock: Unlock,
    archive: Archive = no_archive,
) -> Preview:
    """Never raises for what the files hold. A chain that is missing is asked for, unless `archive` has it."""
    contents = read_contents(files, password, unlock)
    names = known.expected_names
    verdict = choose_bundle(contents, now=now, names=names, archive=archive, needs_chain=True)
    forced = None
    if isinstance(verdict, Refused) and verdict.is_forcible:
        overruled = choose_bundle(contents, now=now, names=names, force=True, archive=archive)
        forced = overruled if isinstance(overruled, CertificateBundle) else None
    return Preview(known.site, names, verdict, forced, live, contents)
