"""`certedge cert revoke`: says what will be served next, asks, and has a certificate revoked at its CA."""

from __future__ import annotations

from typing import Annotated

import typer

from certstore.cli.asking import ask_live, confirm, known_sites, show_whether_served
from certstore.cli.completion import SiteKey, words
from certstore.cli.context import AsJson, Config, Edge, argument, check_site_key, open_edge
from certstore.cli.failure import CommandFailed, Exit
from certstore.cli.lazy import models, reader, requests, revocation, revocations
from certstore.cli.output import GOOD, WARNING, Cell, print_json, print_lines, short
from certstore.files.clock import utc_now
from certstore.model.did_you_mean import site_advice
from certstore.store.errors import UnknownSite


def _reasons() -> list[str]:
    return [each.value for each in revocation.RevocationReason]


def revoke(
    site: SiteKey,
    version: Annotated[int | None, argument("VERSION", "The version to revoke (default: the live one).", min=1)] = None,
    reason: Annotated[
        str,
        typer.Option(
            "--reason",
            metavar="REASON",
            help="Why: unspecified, key-compromise, affiliation-changed, superseded, cessation-of-operation.",
            autocompletion=words(_reasons),
        ),
    ] = "unspecified",
    order: Annotated[
        bool, typer.Option("--order/--no-order", help="Order another certificate first, where the site orders them.")
    ] = True,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Revoke a certificate at the CA that issued it. This can't be undone.

    A live certificate is replaced by a newly ordered one first, if the site has `certificate: acme`.
    """
    attempted = f"revoke the certificate of {site}"
    check_site_key(site, attempted)
    if reason not in _reasons():
        raise CommandFailed(attempted, f"--reason {reason}: allowed: {', '.join(_reasons())}", "", Exit.USAGE)
    edge = open_edge(config)
    why = revocation.RevocationReason(reason)
    confirm(_question(edge, site, version, why, attempted, orders=order), attempted, yes=yes)
    result = ask_live(edge, requests.RevokeRequest(site, version, why, order), attempted)
    if as_json:
        print_json(result.to_json())
        return
    served = result.served
    print_lines(
        Cell(f"{site}: {result.message}", GOOD),
        *(Cell(f"note: {note}", WARNING) for note in result.notes),
        f"{served.server_name} gets {served.certificate} version {served.version} ({short(served.fingerprint)}…)",
    )
    show_whether_served(edge)


def _question(
    edge: Edge, site: str, number: int | None, reason: revocation.RevocationReason, attempted: str, *, orders: bool
) -> str:
    """What is revoked, and what is served next. Raises CommandFailed where there is no such version."""
    store = reader.Store(edge.layout)
    live = store.live_version(site)
    begun = revocations.find_begun(edge.layout, site) if number is None else None
    meant = begun or live
    wanted = number if number is not None else meant.number if meant is not None else None
    version = next((each for each in store.versions(site) if each.number == wanted), None)
    try:
        entry = store.site(site)
    except UnknownSite:
        raise CommandFailed(attempted, f"there is no site {site}", site_advice(site, known_sites(edge))) from None
    if version is None:
        which = f"no version {wanted}" if wanted is not None else "no live certificate"
        raise CommandFailed(attempted, f"{site} has {which}", f"see: certedge cert history {site}")
    successor = revocation.decide_successor(
        is_live=live is not None and live.number == version.number,
        orders=orders and entry.source is models.Source.ACME,
        candidates=revocations.candidates(edge.layout, version, entry.host, utc_now()),
        reason=reason,
    )
    what = f"version {version.number} of {site} ({', '.join(version.dns_names[:3])}; {short(version.fingerprint)}…)"
    if begun is not None:
        what += ", whose revocation was interrupted"
    return f"Revoke {what} as {reason.value}: {successor.in_words(site)}. This can't be undone. Revoke it?"
