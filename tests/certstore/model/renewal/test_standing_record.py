"""Values of standing records, against the draft's own example, and what each record allows."""

from datetime import UTC, datetime
from typing import Any

import pytest

from certstore.model.renewal.standing_record import (
    StandingAccount,
    StandingOffer,
    find_fault,
    nearest_fault,
    read_issuers,
    read_offer,
    record_name,
    record_places,
    record_value,
)

# draft-ietf-acme-dns-persist-02 §10.2
ACCOUNT = StandingAccount("https://ca.example/acct/123", "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs")
PREFIX = "https://ca.example/account-hash/"
HASHED = f"{PREFIX}sha-256/5SQm7n6tPh2-PlLbCKGnViTXX5z19SCN4cPGQHSk-kw"
OF_EVERY_DOMAIN = f"{PREFIX}sha-256/NpDnSwUthQK8zCgFdefYxAdAVPnygMLbs9US6oO-5ug"
OFFER = StandingOffer(("authority.example", "ca.example.net"), PREFIX)
PLACE = "_validation-persist.example.com"
NOW = datetime(2027, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "offer", "value"),
    [
        ("example.com", OFFER, f"authority.example; accounturi={HASHED}"),
        ("*.example.com", OFFER, f"authority.example; accounturi={HASHED}; policy=wildcard"),
        ("example.com", StandingOffer(("ca.test",)), f"ca.test; accounturi={ACCOUNT.url}"),
    ],
    ids=["host", "wildcard", "earlier draft"],
)
def test_the_value_is_that_of_the_draft(name: str, offer: StandingOffer, value: str) -> None:
    assert record_value(name, offer, ACCOUNT) == value
    assert record_name(name) == PLACE


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (f"authority.example; accounturi={HASHED}", None),
        (f"ca.example.net;accounturi={HASHED};policy=WILDCARD; future=1", None),
        (f"authority.example; accounturi={OF_EVERY_DOMAIN}", None),
        (f"authority.example; accounturi={ACCOUNT.url}; persistUntil=1830000000", None),
        (f"other.example; accounturi={HASHED}", "it is for another CA"),
        ("authority.example", "it is for another account"),
        (f"authority.example; accounturi={HASHED.upper()}", "it is for another account"),
        (f"authority.example; accounturi={ACCOUNT.url}4", "it is for another account"),
        (f"authority.example; accounturi={HASHED}; persistUntil=1767225600", "it was valid until 2026-01-01"),
        (f"authority.example; accounturi={HASHED}; persistUntil=soon", "its persistUntil is not a number"),
        ("v=spf1 -all", "it is for another CA"),
        ("", "it is for another CA"),
    ],
)
def test_what_a_record_allows(text: str, fault: str | None) -> None:
    assert find_fault(text, PLACE, OFFER.issuers, ACCOUNT, NOW, needs_wildcard=False) == fault


def test_a_wildcard_needs_its_policy() -> None:
    text = f"authority.example; accounturi={HASHED}"
    assert find_fault(text, PLACE, OFFER.issuers, ACCOUNT, NOW, needs_wildcard=True) == "it lacks policy=wildcard"
    allowed = f"{text}; policy=wildcard"
    assert find_fault(allowed, PLACE, OFFER.issuers, ACCOUNT, NOW, needs_wildcard=True) is None


def test_records_above_count_with_their_policy_up_to_the_registered_domain() -> None:
    assert list(record_places("a.b.example.co.uk")) == [
        ("_validation-persist.a.b.example.co.uk", False),
        ("_validation-persist.b.example.co.uk", True),
        ("_validation-persist.example.co.uk", True),
    ]
    assert next(record_places("*.example.com")) == (PLACE, True)


def test_the_nearest_of_several_faults_is_said() -> None:
    assert nearest_fault(["it is for another CA", "it lacks policy=wildcard"]) == "it lacks policy=wildcard"


@pytest.mark.parametrize(
    ("meta", "offer"),
    [
        ({"issuerDomainNames": ["ca.test"], "accountHashPrefix": PREFIX}, StandingOffer(("ca.test",), PREFIX)),
        ({"issuerDomainNames": ["ca.test"]}, StandingOffer(("ca.test",))),
        ({"issuerDomainNames": ["ca.test"], "accountHashPrefix": "https://x/; y"}, StandingOffer(("ca.test",))),
        ({"issuerDomainNames": []}, None),
        ({"issuerDomainNames": ["ca.test"] * 11}, None),
        ({"issuerDomainNames": ["CA.test."]}, None),
        ({"issuerDomainNames": "ca.test"}, None),
        ({}, None),
    ],
)
def test_a_directory_offers_it_or_not(meta: dict[str, Any], offer: StandingOffer | None) -> None:
    assert read_offer(meta) == offer


def test_challenges_of_both_drafts_are_read() -> None:
    assert read_issuers({"issuerDomainNames": ["ca.test"]}) == ("ca.test",)
    assert read_issuers({"issuer-domain-names": ["ca.test"]}) == ("ca.test",)
    with pytest.raises(ValueError, match="1 to 10"):
        read_issuers({"issuerDomainNames": []})
