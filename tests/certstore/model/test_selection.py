"""Which certificate a client gets, and why: all rules and reasons as one table, and what must hold for any name."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certstore.model.names import covers, normalise_server_name, wildcard_for
from certstore.model.selection import EXPLANATIONS, Reason, Selection, fall_back_to_main, select
from certstore.model.settings.models import Source
from certstore.model.snapshot import MAIN, ServedCertificate, SiteEntry, Snapshot

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)


def certificate(
    site: str, *dns_names: str, ends_in: timedelta = 30 * DAY, begins_in: timedelta = -DAY
) -> ServedCertificate:
    return ServedCertificate(site, 1, site.ljust(64, "0"), dns_names, NOW + begins_in, NOW + ends_in)


def site(key: str, *names: str, own: ServedCertificate | None = None, source: Source = Source.FILE) -> SiteEntry:
    return SiteEntry(key, names[0], names, source, own)


MAIN_CERTIFICATE = certificate(
    MAIN, "mail.install.test", "expired-covered.test", "uncovered-covered.test", "*.shared.test"
)
SITES = [
    site(MAIN, "mail.install.test", "www.install.test", "*.main-wild.test", own=MAIN_CERTIFICATE),
    site("plain", "plain.test", "auto.plain.test", own=certificate("plain", "plain.test", "auto.plain.test")),
    site("wild", "wild.test", "*.wild.test", own=certificate("wild", "wild.test", "*.wild.test")),
    site("inner", "inner.wild.test", own=certificate("inner", "inner.wild.test")),
    site("bare-cert", "no-cert.test", "*.no-cert.test"),
    site("on-main", "on-main.test", own=certificate("on-main", "on-main.test"), source=Source.MAIN),
    site("idn", "xn--bcher-kva.test", own=certificate("idn", "xn--bcher-kva.test")),
    site("expired", "expired.test", "expired-covered.test", "in.shared.test",
         own=certificate("expired", "expired.test", "expired-covered.test", "in.shared.test", ends_in=-DAY)),
    site("ends-now", "ends-now.test", own=certificate("ends-now", "ends-now.test", ends_in=timedelta())),
    site("early", "early.test", own=certificate("early", "early.test", begins_in=DAY)),
    site("partly", "partly.test", "uncovered.test", "uncovered-covered.test", own=certificate("partly", "partly.test")),
    site("thin", "*.thin.test", own=certificate("thin", "only.thin.test")),
]  # fmt: skip
SNAPSHOT = Snapshot.build(SITES)

RULES = [
    # A mail listener ignores the name.
    ("a mail listener gives main for a domain's name", "plain.test", True, MAIN, Reason.MAIL_LISTENER),
    ("a mail listener gives main for main's name", "mail.install.test", True, MAIN, Reason.MAIL_LISTENER),
    ("a mail listener gives main for no name", None, True, MAIN, Reason.MAIL_LISTENER),
    ("a mail listener gives main for junk", "\x00", True, MAIN, Reason.MAIL_LISTENER),
    # No name, or none that is a host's.
    ("no name gives main", None, False, MAIN, Reason.NO_SERVER_NAME),
    ("an empty name gives main", "", False, MAIN, Reason.NO_SERVER_NAME),
    ("an IPv4 literal gives main", "192.0.2.7", False, MAIN, Reason.NOT_A_HOST_NAME),
    ("an IPv6 literal gives main", "2001:db8::7", False, MAIN, Reason.NOT_A_HOST_NAME),
    ("a path gives main", "../plain.test", False, MAIN, Reason.NOT_A_HOST_NAME),
    ("a wildcard sent as a name gives main", "*.wild.test", False, MAIN, Reason.NOT_A_HOST_NAME),
    ("a name of 300 characters gives main", "a." * 150 + "test", False, MAIN, Reason.NOT_A_HOST_NAME),
    # Normal form.
    ("capitals do not matter", "PLAIN.Test", False, "plain", Reason.EXACT_NAME),
    ("a trailing dot does not matter", "plain.test.", False, "plain", Reason.EXACT_NAME),
    ("U-labels find A-labels", "bücher.test", False, "idn", Reason.EXACT_NAME),
    ("A-labels find A-labels", "xn--bcher-kva.test", False, "idn", Reason.EXACT_NAME),
    # Exact, then the one-label wildcard.
    ("a domain's host gives its certificate", "plain.test", False, "plain", Reason.EXACT_NAME),
    ("an additional name gives the same certificate", "auto.plain.test", False, "plain", Reason.EXACT_NAME),
    ("a wildcard matches one label", "any.wild.test", False, "wild", Reason.WILDCARD_NAME),
    ("a wildcard does not span two labels", "two.labels.wild.test", False, MAIN, Reason.UNKNOWN_NAME),
    ("an exact name of another site goes before a wildcard", "inner.wild.test", False, "inner", Reason.EXACT_NAME),
    ("a wildcard does not match its own parent", "main-wild.test", False, MAIN, Reason.UNKNOWN_NAME),
    ("an underscore is matched by a wildcard", "_x.wild.test", False, "wild", Reason.WILDCARD_NAME),
    # Main, and nobody.
    ("main's host gives main", "mail.install.test", False, MAIN, Reason.MAIN_NAME),
    ("main's name that its certificate does not cover gives main", "www.install.test", False, MAIN, Reason.MAIN_NAME),
    ("main's wildcard gives main", "x.main-wild.test", False, MAIN, Reason.MAIN_NAME),
    ("an unknown name gives main", "unknown.test", False, MAIN, Reason.UNKNOWN_NAME),
    ("a name below a domain's gives main", "x.plain.test", False, MAIN, Reason.UNKNOWN_NAME),
    ("a single label gives main", "localhost", False, MAIN, Reason.UNKNOWN_NAME),
    ("a name that only main's certificate covers gives main", "x.shared.test", False, MAIN, Reason.UNKNOWN_NAME),
    # A site without a certificate of its own.
    ("a site without a certificate gets main", "no-cert.test", False, MAIN, Reason.SITE_WITHOUT_CERTIFICATE),
    ("its wildcard too", "x.no-cert.test", False, MAIN, Reason.SITE_WITHOUT_CERTIFICATE),
    ("a site set to main gets main though it has one", "on-main.test", False, MAIN, Reason.SITE_USES_MAIN),
    # Validity.
    (
        "an expired one gives way to main that covers",
        "expired-covered.test",
        False,
        MAIN,
        Reason.EXPIRED_GIVES_WAY_TO_MAIN,
    ),
    ("also where main covers by a wildcard", "in.shared.test", False, MAIN, Reason.EXPIRED_GIVES_WAY_TO_MAIN),
    (
        "an expired one is served where main does not cover",
        "expired.test",
        False,
        "expired",
        Reason.EXPIRED_STILL_SERVED,
    ),
    ("the last instant is over", "ends-now.test", False, "ends-now", Reason.EXPIRED_STILL_SERVED),
    ("one that is not valid yet is served", "early.test", False, "early", Reason.EXACT_NAME),
    # Names that the site's certificate does not cover.
    (
        "an uncovered name goes to main that covers",
        "uncovered-covered.test",
        False,
        MAIN,
        Reason.UNCOVERED_NAME_ON_MAIN,
    ),
    (
        "an uncovered name gets the site's own otherwise",
        "uncovered.test",
        False,
        "partly",
        Reason.UNCOVERED_NAME_ON_OWN,
    ),
    ("a wildcard wider than the certificate likewise", "x.thin.test", False, "thin", Reason.UNCOVERED_NAME_ON_OWN),
    ("a wildcard wider than the certificate, at a covered name", "only.thin.test", False, "thin", Reason.WILDCARD_NAME),
]


@pytest.mark.parametrize(
    ("server_name", "is_mail", "chosen", "reason"), [pytest.param(*rule[1:], id=rule[0]) for rule in RULES]
)
def test_client_gets(server_name: str | None, is_mail: bool, chosen: str, reason: Reason) -> None:
    selection = select(SNAPSHOT, server_name, is_mail=is_mail, now=NOW)
    assert (selection.certificate.site, selection.reason) == (chosen, reason)


def test_table_shows_every_reason_and_each_has_its_words() -> None:
    by_worker = {Reason.UNREADABLE_GIVES_WAY_TO_MAIN}
    assert {rule[4] for rule in RULES} == set(Reason) - by_worker
    assert set(EXPLANATIONS) == set(Reason)
    assert len(set(EXPLANATIONS.values())) == len(Reason)


def test_selection_names_the_site_that_declares_the_name_even_on_main_s_certificate() -> None:
    """Upstream and inspection follow the site, whichever certificate is shown."""
    for name, declaring in [
        ("no-cert.test", "bare-cert"),
        ("on-main.test", "on-main"),
        ("expired-covered.test", "expired"),
    ]:
        selection = select(SNAPSHOT, name, is_mail=False, now=NOW)
        assert (selection.certificate.site, selection.entry.site) == (MAIN, declaring)
    assert select(SNAPSHOT, "unknown.test", is_mail=False, now=NOW).entry.site == MAIN
    assert select(SNAPSHOT, "plain.test", is_mail=True, now=NOW).entry.site == MAIN


@pytest.mark.parametrize(
    ("main", "chosen"),
    [
        pytest.param(certificate(MAIN, "gone.test"), MAIN, id="a valid main certificate is the better answer"),
        pytest.param(certificate(MAIN, "gone.test", ends_in=-DAY), "gone", id="not an expired one"),
        pytest.param(certificate(MAIN, "gone.test", begins_in=DAY), "gone", id="not one that is not valid yet"),
        pytest.param(certificate(MAIN, "other.test"), "gone", id="not one that does not cover the name"),
    ],
)
def test_expired_certificate_gives_way_only_to_a_better_one(main: ServedCertificate, chosen: str) -> None:
    expired = site("gone", "gone.test", own=certificate("gone", "gone.test", ends_in=-DAY))
    snapshot = Snapshot.build([site(MAIN, "mail.install.test", own=main), expired])
    assert select(snapshot, "gone.test", is_mail=False, now=NOW).certificate.site == chosen


def test_time_decides_not_the_snapshot() -> None:
    last = NOW + 30 * DAY
    before = select(SNAPSHOT, "plain.test", is_mail=False, now=last - timedelta(microseconds=1))
    after = select(SNAPSHOT, "plain.test", is_mail=False, now=last)
    assert (before.reason, after.reason) == (Reason.EXACT_NAME, Reason.EXPIRED_STILL_SERVED)


def test_worker_that_cannot_read_a_version_falls_back_to_main_with_its_own_reason() -> None:
    chosen = select(SNAPSHOT, "plain.test", is_mail=False, now=NOW)
    fallback = fall_back_to_main(SNAPSHOT, chosen)
    assert fallback == Selection(MAIN_CERTIFICATE, chosen.entry, Reason.UNREADABLE_GIVES_WAY_TO_MAIN)


# For any sites and any name

LABELS = st.sampled_from(["a", "b", "mail"])
HOSTS = st.lists(LABELS, min_size=1, max_size=3).map(lambda labels: ".".join([*labels, "test"]))
NAMES = HOSTS | HOSTS.map(lambda host: f"*.{host}")


@st.composite
def certificates(draw: st.DrawFn, key: str) -> ServedCertificate:
    dns_names = draw(st.lists(NAMES, min_size=1, max_size=3))
    return certificate(
        key, *dns_names, ends_in=draw(st.integers(-2, 2)) * DAY, begins_in=draw(st.integers(-4, -1)) * DAY
    )


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    """Up to five sites; each name belongs to at most one, as declarations see to."""
    free = draw(st.lists(NAMES, min_size=1, max_size=12, unique=True))
    entries = []
    for index in range(draw(st.integers(1, 5))):
        key = MAIN if index == 0 else f"site{index}"
        names = [free.pop() for _ in range(draw(st.integers(0, min(3, len(free)))))]
        own = draw(certificates(key)) if key == MAIN or draw(st.booleans()) else None
        entries.append(SiteEntry(key, f"{key}.example", tuple(names), draw(st.sampled_from(Source)), own))
    return Snapshot.build(entries)


def spelt(name: str) -> list[str]:
    return [name, name.upper(), name + ".", name.title()]


SENT = st.none() | st.text(max_size=40) | HOSTS.flatmap(lambda host: st.sampled_from(spelt(host))) | NAMES


@given(snapshots(), SENT, st.booleans())
def test_any_name_on_any_sites_is_answered_within_the_rules(
    snapshot: Snapshot, server_name: str | None, is_mail: bool
) -> None:
    selection = select(snapshot, server_name, is_mail=is_mail, now=NOW)
    chosen = selection.certificate
    if is_mail:
        assert (chosen, selection.entry.site) == (snapshot.main.certificate, MAIN)
    if chosen.site == MAIN:
        assert chosen == snapshot.main.certificate
        return
    name = normalise_server_name(server_name)
    assert name is not None, "a domain's certificate answers only a name"
    declared = snapshot.sites[chosen.site].names
    assert name in declared or wildcard_for(name) in declared, "and only one that its site declares"
    assert selection.entry == snapshot.sites[chosen.site]
    assert chosen == selection.entry.certificate
    assert selection.entry.source is not Source.MAIN
    if chosen.not_after <= NOW:
        main = snapshot.main.certificate
        assert main is not None
        assert not (main.not_after > NOW and covers(main.dns_names, name)), (
            "a valid main certificate was the better answer"
        )


@given(snapshots(), HOSTS)
def test_spelling_of_a_name_changes_nothing(snapshot: Snapshot, host: str) -> None:
    answers = {select(snapshot, each, is_mail=False, now=NOW) for each in spelt(host)}
    assert len(answers) == 1


@given(snapshots(), HOSTS)
def test_declared_exact_name_always_leads_to_its_site(snapshot: Snapshot, host: str) -> None:
    entry = snapshot.by_name.get(host)
    if entry is not None:
        assert select(snapshot, host, is_mail=False, now=NOW).entry == entry


def test_a_site_without_a_certificate_is_not_shown_as_set_to_main() -> None:
    bare = site("bare", "bare.test", source=Source.MAIN)
    main = site(MAIN, "mail.install.test", own=MAIN_CERTIFICATE)
    selection = select(Snapshot.build([main, bare]), "bare.test", is_mail=False, now=NOW)
    assert "or it has none yet" in EXPLANATIONS[selection.reason]
