import pytest

from certstore.model.renewal.caa import caa_findings
from certstore.model.renewal.preflight_facts import CaaFacts, Lookup, Severity

OURS = ("letsencrypt.org",)
ACCOUNT = "https://ca.test/acct/7"
Records = tuple[tuple[bool, str, str], ...]


def verdict(records: Records, identities: tuple[str, ...] = OURS) -> str | None:
    facts = CaaFacts(Lookup.FOUND, "example.test", records)
    found = caa_findings("a.example.test", facts, method="http-01", identities=identities, account_url=ACCOUNT)
    return found[0].message if found else None


@pytest.mark.parametrize(
    "records",
    [
        ((False, "issue", "letsencrypt.org"),),
        ((False, "Issue", " LetsEncrypt.org "),),
        ((False, "issue", "other.test"), (False, "issue", "letsencrypt.org")),
        ((False, "issuewild", ";"),),
        ((True, "iodef", "mailto:x@example.test"),),
        ((False, "unknown", "x"),),
        ((False, "issue", "letsencrypt.org; validationmethods=dns-01,http-01"),),
        ((False, "issue", f"letsencrypt.org; accounturi={ACCOUNT}"),),
        ((False, "issue", "letsencrypt.org;validationmethods=dns-01"), (False, "issue", "letsencrypt.org")),
    ],
    ids=[
        "allowed",
        "any case, any space",
        "one of several",
        "only wildcards are ruled",
        "nothing ruled",
        "an unknown record that is not critical",
        "our method is among them",
        "our account",
        "another record allows it",
    ],
)
def test_records_that_let_us(records: Records) -> None:
    assert verdict(records) is None


WILD = (False, "issuewild", "letsencrypt.org")


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ((WILD, (False, "issue", "other.test")), None),
        (((False, "issue", "letsencrypt.org"),), None),
        (((False, "issue", "letsencrypt.org"), (False, "issuewild", ";")), "allow no CA"),
        (((False, "issuewild", "letsencrypt.org; validationmethods=http-01"),), "only by http-01"),
    ],
    ids=["issuewild counts", "issue counts without it", "none for wildcards", "not our method"],
)
def test_wildcards_have_records_of_their_own(records: Records, words: str | None) -> None:
    facts = CaaFacts(Lookup.FOUND, "example.test", records)
    found = caa_findings("*.example.test", facts, method="dns-01", identities=OURS, account_url=ACCOUNT)
    assert [words in each.message for each in found if words] == ([True] if words else [])
    assert bool(found) is bool(words)


def test_the_remedy_for_a_wildcard_names_its_record() -> None:
    facts = CaaFacts(Lookup.FOUND, "example.test", ((False, "issuewild", "other.test"),))
    [found] = caa_findings("*.example.test", facts, method="dns-01", identities=OURS, account_url=None)
    assert 'CAA 0 issuewild "letsencrypt.org"' in found.remedy


@pytest.mark.parametrize(
    ("records", "words"),
    [
        (((False, "issue", "other.test"),), "other.test"),
        (((False, "issue", ";"),), "no CA"),
        (
            ((False, "issue", "letsencrypt.org; validationmethods=dns-01"),),
            "only by dns-01; this edge proves names by http-01",
        ),
        (((False, "issue", "letsencrypt.org; accounturi=https://ca.test/acct/8"),), "acct/8"),
        (((True, "future", "x"),), "future"),
        (((False, "issue", "other.test"), (False, "issue", "letsencrypt.org; validationmethods=dns-01")), "http-01"),
    ],
    ids=[
        "another CA",
        "nobody",
        "another method",
        "another account",
        "critical and unknown",
        "the nearest miss is named",
    ],
)
def test_records_that_forbid_us(records: Records, words: str) -> None:
    message = verdict(records)
    assert message is not None
    assert words in message
    assert "example.test" in message


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (["other.test"], "allow only other.test to issue"),
        (["one.test; a=b", "two.test"], "allow only one.test, two.test to issue"),
        ([";"], "allow no CA to issue"),
    ],
)
def test_ca_that_does_not_say_its_name_is_doubtful(values: list[str], words: str) -> None:
    facts = CaaFacts(Lookup.FOUND, "a.test", tuple((False, "issue", value) for value in values))
    (finding,) = caa_findings("a.test", facts, method="http-01", identities=(), account_url=None)
    assert (finding.code, finding.severity) == ("caa_unknown", Severity.DOUBTFUL)
    assert words in finding.message


def test_records_that_rule_nothing_say_nothing_about_a_nameless_ca() -> None:
    assert verdict(((False, "iodef", "mailto:x@a.test"),), identities=()) is None


@pytest.mark.parametrize(
    "record",
    [(False, "issue", "x\x1b[2J\n"), (True, "x\x1b[2J", ""), (False, "issue", "y" * 5000)],
    ids=["value", "tag", "long"],
)
def test_what_a_zone_says_is_quoted(record: tuple[bool, str, str]) -> None:
    message = verdict((record,)) or ""
    assert message.isprintable()
    assert 20 < len(message) < 500


@pytest.mark.parametrize("lookup", [Lookup.NO_DATA, Lookup.NO_SUCH_NAME, Lookup.TIMED_OUT])
def test_no_records_forbid_nothing(lookup: Lookup) -> None:
    assert caa_findings("a.test", CaaFacts(lookup), method="http-01", identities=OURS, account_url=None) == []
