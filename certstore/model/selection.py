"""Which certificate a client gets, and why: the one decision of the project.

Pure: the snapshot, the name that the client sent and the time go in, a `Selection` comes out. Knows nothing of TLS,
sockets or files. `select` holds the rules in their order, and each way through them has its `Reason`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from certstore.model.names import covers, normalise_server_name, wildcard_for
from certstore.model.settings.models import Source
from certstore.model.snapshot import MAIN, ServedCertificate, SiteEntry, Snapshot


class Reason(StrEnum):
    """Why this certificate; the codes are for logs, `EXPLANATIONS` has the sentences for people."""

    MAIL_LISTENER = "mail_listener"
    NO_SERVER_NAME = "no_server_name"
    NOT_A_HOST_NAME = "not_a_host_name"
    MAIN_NAME = "main_name"
    EXACT_NAME = "exact_name"
    WILDCARD_NAME = "wildcard_name"
    UNKNOWN_NAME = "unknown_name"
    SITE_USES_MAIN = "site_uses_main"
    SITE_WITHOUT_CERTIFICATE = "site_without_certificate"
    EXPIRED_GIVES_WAY_TO_MAIN = "expired_gives_way_to_main"
    EXPIRED_STILL_SERVED = "expired_still_served"
    UNCOVERED_NAME_ON_MAIN = "uncovered_name_on_main"
    UNCOVERED_NAME_ON_OWN = "uncovered_name_on_own"
    UNREADABLE_GIVES_WAY_TO_MAIN = "unreadable_gives_way_to_main"


EXPLANATIONS: dict[Reason, str] = {
    Reason.MAIL_LISTENER: "mail listeners always present the main certificate",
    Reason.NO_SERVER_NAME: "the client sends no server name",
    Reason.NOT_A_HOST_NAME: "the client sends something that is not a host name",
    Reason.MAIN_NAME: "the name belongs to the main site",
    Reason.EXACT_NAME: "the site declares exactly this name",
    Reason.WILDCARD_NAME: "the site declares a wildcard that matches this name",
    Reason.UNKNOWN_NAME: "no site declares this name",
    Reason.SITE_USES_MAIN: "the site uses the main certificate: its settings say so, or it has none yet",
    Reason.SITE_WITHOUT_CERTIFICATE: "the site has no certificate yet",
    Reason.EXPIRED_GIVES_WAY_TO_MAIN: "the site's certificate has expired and the main certificate covers the name",
    Reason.EXPIRED_STILL_SERVED: "the site's certificate has expired and no valid main certificate covers the name",
    Reason.UNCOVERED_NAME_ON_MAIN: "the site's certificate does not cover the name, the main certificate does",
    Reason.UNCOVERED_NAME_ON_OWN: "neither the site's nor the main certificate covers the name; its own is served",
    Reason.UNREADABLE_GIVES_WAY_TO_MAIN: "this worker can't read the files of the site's certificate",
}


@dataclass(frozen=True, slots=True)
class Selection:
    """The chosen certificate, the site that declares the name (main for unknown names), and the reason."""

    certificate: ServedCertificate
    entry: SiteEntry
    reason: Reason


def select(snapshot: Snapshot, server_name: str | None, *, is_mail: bool, now: datetime) -> Selection:
    """Choose for `server_name` as the client sent it (any case, a trailing dot, U-labels, junk); never raises.

    Names: RFC 6066 §3 for what a server name is, RFC 9525 §6.3 for wildcards. A certificate of a site is only ever
    chosen for a name that the site owns in this snapshot.
    """
    main = snapshot.main
    if is_mail:
        return _main(snapshot, main, Reason.MAIL_LISTENER)
    if not server_name:
        return _main(snapshot, main, Reason.NO_SERVER_NAME)
    name = normalise_server_name(server_name)
    if name is None:
        return _main(snapshot, main, Reason.NOT_A_HOST_NAME)
    matched = Reason.EXACT_NAME
    entry = snapshot.by_name.get(name)
    if entry is None:
        matched = Reason.WILDCARD_NAME
        wildcard = wildcard_for(name)
        entry = snapshot.by_name.get(wildcard) if wildcard is not None else None
    if entry is None:
        return _main(snapshot, main, Reason.UNKNOWN_NAME)
    if entry.site == MAIN:
        return _main(snapshot, main, Reason.MAIN_NAME)
    if entry.source is Source.MAIN:
        return _main(snapshot, entry, Reason.SITE_USES_MAIN)
    if entry.certificate is None:
        return _main(snapshot, entry, Reason.SITE_WITHOUT_CERTIFICATE)
    return _own_or_main(snapshot, entry, entry.certificate, name, matched, now)


def fall_back_to_main(snapshot: Snapshot, selection: Selection) -> Selection:
    """For a worker that can't read the chosen version's files; the only reason that `select` never gives."""
    return _main(snapshot, selection.entry, Reason.UNREADABLE_GIVES_WAY_TO_MAIN)


def _own_or_main(
    snapshot: Snapshot, entry: SiteEntry, own: ServedCertificate, name: str, matched: Reason, now: datetime
) -> Selection:
    """The site has a certificate: is it the better one for this name, or is main's?"""
    if own.not_after <= now:
        if _is_valid_for(snapshot.main.certificate, name, now):
            return _main(snapshot, entry, Reason.EXPIRED_GIVES_WAY_TO_MAIN)
        return Selection(own, entry, Reason.EXPIRED_STILL_SERVED)
    if not covers(own.dns_names, name):
        main = snapshot.main.certificate
        if main is not None and covers(main.dns_names, name):
            return _main(snapshot, entry, Reason.UNCOVERED_NAME_ON_MAIN)
        return Selection(own, entry, Reason.UNCOVERED_NAME_ON_OWN)
    return Selection(own, entry, matched)


def _is_valid_for(certificate: ServedCertificate | None, name: str, now: datetime) -> bool:
    return (
        certificate is not None
        and certificate.not_before <= now < certificate.not_after
        and covers(certificate.dns_names, name)
    )


def _main(snapshot: Snapshot, entry: SiteEntry, reason: Reason) -> Selection:
    certificate = snapshot.main.certificate
    assert certificate is not None, "Snapshot._from lets no snapshot through without it"  # noqa: S101
    return Selection(certificate, entry, reason)
