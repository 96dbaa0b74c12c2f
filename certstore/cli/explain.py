"""`certedge explain`: which certificate a client gets, and why, by the same decision that the workers make.

Reads what the workers read, so no process has to run.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from certstore.cli.completion import host_names, words
from certstore.cli.context import AsJson, Config, Edge, argument, open_edge
from certstore.cli.failure import CommandFailed, Exit
from certstore.cli.lazy import models, names, reader, selection, snapshot, ways
from certstore.cli.output import BAD, GOOD, WARNING, Cell, print_facts, print_json, print_lines, remaining, utc
from certstore.cli.status import read_store
from certstore.files.clock import utc_now
from certstore.model.record import Outcome, Record


def _kinds() -> list[str]:
    """Of listeners with TLS."""
    return [each.value for each in models.ListenerKind if not each.is_clear_text]


def explain(
    name: Annotated[
        str, argument("NAME", 'The server name that the client sends; "" for none.', autocompletion=host_names)
    ],
    kind: Annotated[
        str,
        typer.Option(
            metavar="KIND", autocompletion=words(_kinds), help="The kind of listener: https, imaps, submission, …"
        ),
    ] = "https",
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Show which certificate a client gets for NAME, and why."""
    edge = open_edge(config)
    listener = _listener_kind(kind)
    attempted = f"explain {name!r}"
    served = read_store(edge, attempted, lambda store: store.snapshot())
    choice = selection.select(served, name or None, is_mail=listener.is_mail, now=utc_now())
    fault = _why_without(edge, choice)
    way = read_store(edge, attempted, lambda store: _way_of(store, choice, name or None))
    if as_json:
        facts = selection_facts(choice, name or None, listener.value)
        if way is not None:
            facts |= {"proven_by": way.way, "proven_because": way.why}
        print_json(facts if fault is None else facts | {"last_attempt": fault.to_json()})
    else:
        _show(choice, name or None, listener.value, way)
        if fault is not None:
            what = "the last drop was refused" if fault.outcome is Outcome.REFUSED else f"{fault.doing} failed"
            print_lines(Cell(f"{choice.entry.site}: {what} at {utc(fault.at)}: {fault.message}", BAD))


def _why_without(edge: Edge, choice: selection.Selection) -> Record | None:
    """The attempt that left the site without a certificate; None if there was none, or it has one."""
    if choice.entry.certificate is not None or choice.entry.site == snapshot.MAIN:
        return None
    attempts = reader.Store(edge.layout).records(choice.entry.site)
    last = attempts[-1] if attempts else None
    return last if last is not None and last.outcome in (Outcome.REFUSED, Outcome.FAILED) else None


def _way_of(store: reader.Store, choice: selection.Selection, server_name: str | None) -> ways.NameWay | None:
    """How the name, or the wildcard that covers it, is proven to the CA; None where nothing is known of that."""
    name = names.normalise_server_name(server_name)
    if name is None or choice.entry.source is not models.Source.ACME:
        return None
    try:
        known = {each.name: each for each in store.renewal(choice.entry.site).ways}
    except OSError:
        return None  # this user may not read it
    return known.get(name) or known.get(names.wildcard_for(name) or "")


def selection_facts(choice: selection.Selection, server_name: str | None, kind: str) -> dict[str, Any]:
    certificate = choice.certificate
    return {
        "server_name": server_name,
        "kind": kind,
        "certificate": certificate.site,
        "reason": choice.reason.value,
        "fingerprint": certificate.fingerprint,
        "version": certificate.version,
    }


def _listener_kind(kind: str) -> models.ListenerKind:
    allowed = _kinds()
    if kind not in allowed:
        found = f"{kind!r} is not a kind of listener with TLS; allowed: {', '.join(allowed)}"
        raise CommandFailed("explain which certificate is served", found, "", Exit.USAGE)
    return models.ListenerKind(kind)


def _show(choice: selection.Selection, server_name: str | None, kind: str, way: ways.NameWay | None) -> None:
    now, certificate = utc_now(), choice.certificate
    name = names.normalise_server_name(server_name)
    is_covered = name is not None and names.covers(certificate.dns_names, name)
    left = remaining(certificate.not_after, now)
    print_facts(
        [
            ("server name", server_name or "(none)"),
            ("listener", kind),
            ("certificate", Cell(certificate.site, GOOD if is_covered and left != "expired" else WARNING)),
            ("reason", selection.EXPLANATIONS[choice.reason]),
            ("site", choice.entry.site),
            ("version", str(certificate.version)),
            ("fingerprint", certificate.fingerprint),
            ("names in it", " ".join(certificate.dns_names)),
            ("covers the name", "" if name is None else Cell("yes") if is_covered else Cell("no", WARNING)),
            ("proven to the CA", "" if way is None else f"by {way.way or 'no way'}: {way.why}"),
            ("valid until", Cell(f"{utc(certificate.not_after)} ({left})", BAD if left == "expired" else "")),
        ]
    )
