"""The checks of the demo. Each examines the running edge from outside and returns what it saw, or raises Wrong.

A check takes what it expects from the arrangement alone, so a wrong arrangement makes its checks fail.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from certstore.files.clock import utc_now
from certstore.model.challenge import CHALLENGE_PATH
from certstore.model.record import Outcome, Record
from certstore.model.settings.models import ListenerKind
from certstore.model.starttls import CLIENT_SIDES
from certstore.store.reader import Store
from edge_addon.demo import client
from edge_addon.demo.arrangement import MAIN_HOST, OWN, OWN_ADDITIONAL, REPLACED, WITHOUT, Arrangement

STRANGER = "nobody.example.net"
TOKEN = "demo-token-0123456789_abcdefghijklmnop"  # noqa: S105  a challenge's token is public
UNKNOWN_TOKEN = "demo-token-that-nobody-ordered_abcdef"  # noqa: S105
SERVED_SECONDS = 10.0
PAUSE = 0.002


class Wrong(Exception):
    """The check saw something unexpected. The message says what."""


class Stage:
    """What the checks examine, and which certificate each site should present now."""

    def __init__(self, arrangement: Arrangement) -> None:
        self.arrangement = arrangement
        self.context = client.trusting(arrangement.root_pem)
        self.expected = {site: pair.fingerprint for site, pair in arrangement.pairs.items()}

    def port(self, kind: str) -> int:
        return self.arrangement.ports[kind]

    def shown(self, server_name: str | None, kind: str = "https") -> str:
        """The fingerprint of the certificate that a new TLS connection with this server name gets."""
        with client.tls(self.port(kind), server_name, self.context) as connection:
            return client.fingerprint(connection)

    def demand(self, site: str, fingerprint: str) -> None:
        """Raise Wrong unless this is the certificate that `site` should present."""
        if fingerprint != self.expected[site]:
            owner = next((other for other, known in self.expected.items() if known == fingerprint), None)
            got = _certificate_of(owner) if owner else "a certificate that the demo did not issue"
            raise Wrong(f"expected {_certificate_of(site)}, got {got}")


type Check = Callable[[Stage], str]


def wait_until_served(stage: Stage) -> None:
    """Wait until the first drops are served, but not for long: the checks report what is missing."""
    names = {"main": MAIN_HOST} | {site: site for site in stage.expected if site != "main"}
    deadline = time.monotonic() + SERVED_SECONDS
    for site, name in names.items():
        while stage.shown(name) != stage.expected[site] and time.monotonic() < deadline:
            time.sleep(PAUSE)


def shows_certificate(stage: Stage, server_name: str | None, site: str, kind: str = "https") -> str:
    stage.demand(site, stage.shown(server_name, kind))
    return _certificate_of(site)


def relays_page(stage: Stage) -> str:
    with client.tls(stage.port("https"), OWN, stage.context) as connection:
        answer = client.get(connection, OWN, "/")
    _demand_status(answer, 200)
    for fact in (f"Host: {OWN}", "X-Forwarded-For: 127.0.0.1", "X-Forwarded-Proto: https"):
        if fact not in answer.body.decode(errors="replace").splitlines():
            raise Wrong(f"the web server did not receive {fact!r}")
    return "the web server received the host name, the client's address and the scheme https"


def answers_challenge(stage: Stage, kind: str) -> str:
    path = stage.arrangement.layout.challenge(TOKEN)
    if path is None:
        raise Wrong(f"{TOKEN} is not a valid token")
    key_authorization = f"{TOKEN}.demo-thumbprint".encode()
    stage.arrangement.put(path, key_authorization)
    for token, status in ((TOKEN, 200), (UNKNOWN_TOKEN, 404)):
        target = CHALLENGE_PATH + token
        if kind == "http":
            answer = client.get_plain(stage.port(kind), WITHOUT, target)
        else:
            with client.tls(stage.port(kind), WITHOUT, stage.context) as connection:
                answer = client.get(connection, WITHOUT, target)
        _demand_status(answer, status)
        if token == TOKEN and answer.body != key_authorization:
            raise Wrong(f"the answer was {answer.body[:80]!r} instead of the key authorization")
    return "answered; an unknown token gets 404"


def takes_replacement(stage: Stage) -> str:
    pair = stage.arrangement.authority.issue(REPLACED, now=utc_now())
    with client.tls(stage.port("https"), REPLACED, stage.context) as opened_before:
        stage.demand(REPLACED, client.fingerprint(opened_before))
        _demand_status(client.get(opened_before, REPLACED, "/"), 200)
        stage.arrangement.drop(REPLACED, pair.combined_pem)
        dropped_at = time.monotonic()
        while stage.shown(REPLACED) != pair.fingerprint:
            if time.monotonic() > dropped_at + SERVED_SECONDS:
                raise Wrong(f"not served within {SERVED_SECONDS:.0f} s of the drop")
            time.sleep(PAUSE)
        milliseconds = (time.monotonic() - dropped_at) * 1000
        stage.expected[REPLACED] = pair.fingerprint
        _demand_status(client.get(opened_before, REPLACED, "/"), 200)
    return f"served {milliseconds:.0f} ms after the drop; an open connection continued"


def refuses_mismatch(stage: Stage) -> str:
    authority, now = stage.arrangement.authority, utc_now()
    key, certificate = authority.issue(OWN, now=now), authority.issue(OWN, now=now)
    known = len(_intakes(stage, OWN))
    stage.arrangement.drop(OWN, key.privkey_pem + certificate.fullchain_pem)
    deadline = time.monotonic() + SERVED_SECONDS
    while len(records := _intakes(stage, OWN)) == known:
        if time.monotonic() > deadline:
            raise Wrong(f"not recorded within {SERVED_SECONDS:.0f} s")
        time.sleep(PAUSE)
    newest = max(records, key=lambda record: record.at)
    if newest.outcome is not Outcome.REFUSED:
        raise Wrong(f"not refused: {newest.message}")
    stage.demand(OWN, stage.shown(OWN))
    return f"refused; the previous certificate is still served. Reason: {newest.message}"


def shows_main_after_starttls(
    stage: Stage, kind: ListenerKind, server_name: str | None, hello: str, last: bytes
) -> str:
    """`hello` asks for the mail server's capabilities; the reply's last line begins with `last`."""
    with client.tls(stage.port(kind), server_name, stage.context, CLIENT_SIDES[kind]) as connection:
        stage.demand("main", client.fingerprint(connection))
        capabilities = client.ask(connection, hello, last)
        if "STARTTLS" in capabilities.upper():
            raise Wrong("STARTTLS is offered again over TLS")
        if "AUTH" not in capabilities.upper():
            raise Wrong("the mail server behind the edge did not answer")
    return _certificate_of("main")


CHECKS: tuple[tuple[str, Check], ...] = (
    ("HTTPS without a server name (SNI)", partial(shows_certificate, server_name=None, site="main")),
    (f"HTTPS for the unknown name {STRANGER}", partial(shows_certificate, server_name=STRANGER, site="main")),
    (f"HTTPS for the main host {MAIN_HOST}", partial(shows_certificate, server_name=MAIN_HOST, site="main")),
    (f"HTTPS for {OWN}", partial(shows_certificate, server_name=OWN, site=OWN)),
    (
        f"HTTPS for {OWN_ADDITIONAL}, an additional name of that site",
        partial(shows_certificate, server_name=OWN_ADDITIONAL, site=OWN),
    ),
    (f"HTTPS for {WITHOUT}, which has no certificate", partial(shows_certificate, server_name=WITHOUT, site="main")),
    (f"A page from {OWN}", relays_page),
    (f"HTTP-01 challenge for {WITHOUT} over http", partial(answers_challenge, kind="http")),
    (f"HTTP-01 challenge for {WITHOUT} over https", partial(answers_challenge, kind="https")),
    (f"A new certificate for {REPLACED}", takes_replacement),
    (f"A certificate for {OWN} with the wrong key", refuses_mismatch),
    (f"IMAPS with the server name {OWN}", partial(shows_certificate, server_name=OWN, site="main", kind="imaps")),
    (
        f"IMAP with STARTTLS and the server name {OWN}",
        lambda stage: shows_main_after_starttls(stage, ListenerKind.IMAP, OWN, "a CAPABILITY", b"a OK"),
    ),
    (
        "SMTP submission with STARTTLS, without a server name",
        lambda stage: shows_main_after_starttls(stage, ListenerKind.SUBMISSION, None, "EHLO client.demo.test", b"250 "),
    ),
)


def _certificate_of(site: str) -> str:
    return "the main certificate" if site == "main" else f"the certificate of {site}"


def _demand_status(answer: client.Answer, status: int) -> None:
    if answer.status != status:
        raise Wrong(f"HTTP status {answer.status}, expected {status}")


def _intakes(stage: Stage, site: str) -> list[Record]:
    records = Store.open(stage.arrangement.layout.root).records(site)
    return [record for record in records if record.doing == "intake"]
