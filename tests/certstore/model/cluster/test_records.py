import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certstore.model import layout
from certstore.model.certificate.findings import Finding
from certstore.model.cluster.records import (
    LAST_ATTEMPTS,
    NEWEST_SCHEMA,
    Act,
    HeadRecord,
    Live,
    Member,
    Meta,
    Removal,
    Role,
    Said,
    SiteRecord,
    act_of,
    decode_seq,
    encode_seq,
    heads_digest,
)
from certstore.model.cluster.wire import Refusal, Refused
from certstore.model.record import Outcome, Record
from certstore.model.settings.models import SiteSettings
from tests.certstore.model.cluster.examples import AT, CLUSTER, SITE, head_record, member, site_record

HEAD = head_record()
WITH_RSA = head_record(rsa=True)
ATTEMPT = Record(AT, "order", Outcome.FAILED, "rate_limited", "the CA's limit is reached", next_attempt=AT)
LIVE = Live("0f" * 8, 712, "ab" * 32, 10_001, "0.2", AT, workers=4, problems=(("file_missing", "ca.pem is missing"),))
META = Meta(CLUSTER, AT, ("0badcafe",), ("deadbeef",))
SAID = Said((Finding("drop_refused", "no key"),), (ATTEMPT,))

Decode = Callable[[bytes], Any]
DECODERS: dict[str, tuple[bytes, Decode]] = {
    "site": (site_record().encode(), lambda plaintext: SiteRecord.decode(SITE, plaintext)),
    "head": (HEAD.encode(), lambda plaintext: HeadRecord.decode(SITE, plaintext)),
    "said": (SAID.encode(), Said.decode),
    "member": (member().encode(), lambda plaintext: Member.decode("edge-b", plaintext)),
    "live": (LIVE.encode(), Live.decode),
    "meta": (META.encode(), Meta.decode),
}


def refusal_of(decode: Decode, plaintext: bytes) -> Refusal:
    with pytest.raises(Refused) as refused:
        decode(plaintext)
    return refused.value.why


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(site_record(), id="a site"),
        pytest.param(site_record(settings=None), id="a bare site"),
        pytest.param(site_record(removal=Removal(AT, "edge-b", 7)), id="a removed site"),
        pytest.param(site_record(removal=Removal(AT, "edge-b")), id="a removed site that had no certificate"),
        pytest.param(
            site_record(
                settings=SiteSettings.model_validate({
                    "host": SITE,
                    "upstream": [{"url": "https://10.0.0.1:8443", "ca_file": "ca.pem", "name": "in.test"}],
                    "contact": ["anna@client-a.test"],
                    "inspect": True,
                })
            ),
            id="a site with everything",
        ),
    ],
)  # fmt: skip
def test_a_site_comes_back_from_its_bytes(record: SiteRecord) -> None:
    assert SiteRecord.decode(SITE, record.encode()) == record


@pytest.mark.parametrize("record", [pytest.param(HEAD, id="one pair"), pytest.param(WITH_RSA, id="with an RSA pair")])
def test_a_version_comes_back_with_its_files(record: HeadRecord) -> None:
    assert (back := HeadRecord.decode(SITE, record.encode())) == record
    assert back.files == record.files
    assert (layout.PRIVKEY_RSA in back.files) is record.version.has_rsa_pair


def test_the_files_of_a_version_are_those_of_the_archive() -> None:
    files = WITH_RSA.files
    assert files[layout.COMBINED] == files[layout.PRIVKEY] + files[layout.CERT] + files[layout.CHAIN]
    assert files[layout.FULLCHAIN] == files[layout.CERT] + files[layout.CHAIN]
    version = WITH_RSA.version
    assert HeadRecord.of(version, files, doing="intake", source=version.source, by="edge-a", at=AT) == WITH_RSA


def test_what_one_node_says_about_a_site_comes_back_without_old_attempts() -> None:
    attempts = tuple(replace(ATTEMPT, message=str(number)) for number in range(LAST_ATTEMPTS + 3))
    back = Said.decode(Said(SAID.problems, attempts).encode())
    assert back.problems == SAID.problems
    assert [each.message for each in back.attempts] == ["3", "4", "5", "6", "7"]


@pytest.mark.parametrize(
    "record", [pytest.param(member(), id="an edge"), pytest.param(member(role=Role.FRONT, listeners=()), id="a front")]
)
def test_a_member_comes_back_from_its_bytes(record: Member) -> None:
    assert Member.decode("edge-b", record.encode()) == record


def test_how_a_node_is_and_what_a_cluster_is_come_back_from_their_bytes() -> None:
    assert Live.decode(LIVE.encode()) == LIVE
    assert Meta.decode(META.encode()) == META


@pytest.mark.parametrize("name", DECODERS)
def test_a_record_of_a_newer_release_is_refused_by_name(name: str) -> None:
    plaintext, decode = DECODERS[name]
    newer = json.dumps(json.loads(plaintext) | {"schema": NEWEST_SCHEMA + 1}).encode()
    assert refusal_of(decode, newer) is Refusal.NEWER_RELEASE
    assert refusal_of(decode, b'{"schema": 99}') is Refusal.NEWER_RELEASE, "whatever else it holds"


@pytest.mark.parametrize("name", DECODERS)
def test_a_fact_that_this_release_does_not_know_is_ignored(name: str) -> None:
    plaintext, decode = DECODERS[name]
    assert decode(json.dumps(json.loads(plaintext) | {"colour": "red"}).encode()) == decode(plaintext)


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize(
    "plaintext",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"null", id="null"),
        pytest.param(b"[1]", id="a list"),
        pytest.param(b"{}", id="no schema"),
        pytest.param(b'{"schema": true}', id="a schema that is no number"),
        pytest.param(b'{"schema": "1"}', id="a schema that is a text"),
        pytest.param(b"\xff\xfe", id="not UTF-8"),
        pytest.param(b'{"schema":1}', id="nothing but a schema"),
        pytest.param(b"[" * 100_000, id="very deep"),
        pytest.param(b'{"schema":' + b"9" * 5000 + b"}", id="a number of 5000 digits"),
    ],
)
def test_what_is_not_a_record_is_refused(name: str, plaintext: bytes) -> None:
    assert refusal_of(DECODERS[name][1], plaintext) in (Refusal.MALFORMED, Refusal.NEWER_RELEASE)


@pytest.mark.parametrize(
    ("name", "fact"), [(name, fact) for name, (plaintext, _) in DECODERS.items() for fact in json.loads(plaintext)]
)
def test_a_fact_of_another_type_is_refused(name: str, fact: str) -> None:
    plaintext, decode = DECODERS[name]
    for odd in ({"x": [1]}, [[["x"]]], 1.5e300):
        why = refusal_of(decode, json.dumps(json.loads(plaintext) | {fact: odd}).encode())
        assert why in (Refusal.MALFORMED, Refusal.NEWER_RELEASE)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3)))
def test_nothing_but_a_refusal_comes_out_of_odd_facts(odd: object) -> None:
    for plaintext, decode in DECODERS.values():
        facts = json.loads(plaintext)
        for fact in facts:
            with suppress(Refused):
                decode(json.dumps(facts | {fact: odd}).encode())


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"at": "2026-11-30T20:00:00"}, id="a time without a zone"),
        pytest.param({"number": 0}, id="version 0"),
        pytest.param({"number": 1 << 70}, id="a huge number"),
        pytest.param({"pem": ["", "", "", ""]}, id="four texts"),
        pytest.param({"pem": ["ä", "", "", "", ""]}, id="not ASCII"),
        pytest.param({"pem": ["a", "b", "c", "d", "e"]}, id="an RSA pair that the facts do not know"),
    ],
)
def test_a_version_that_can_not_be_one_is_refused(changes: dict[str, Any]) -> None:
    plaintext = json.dumps(json.loads(HEAD.encode()) | changes).encode()
    assert refusal_of(lambda each: HeadRecord.decode(SITE, each), plaintext) is Refusal.MALFORMED


def test_a_refusal_quotes_nothing_of_a_record() -> None:
    facts = json.loads(site_record().encode())
    facts["settings"]["host"] = "SECRET that is no host"
    with pytest.raises(Refused) as refused:
        SiteRecord.decode(SITE, json.dumps(facts).encode())
    assert "SECRET" not in str(refused.value)
    assert refused.value.__context__ is None or refused.value.__suppress_context__


@pytest.mark.parametrize("site", ["../x", "", "A.test"])
def test_a_record_of_a_site_that_can_not_be_one_is_refused(site: str) -> None:
    assert refusal_of(lambda each: SiteRecord.decode(site, each), site_record().encode()) is Refusal.MALFORMED
    assert refusal_of(lambda each: HeadRecord.decode(site, each), HEAD.encode()) is Refusal.MALFORMED


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(member(signing_key="22" * 31), id="a short key"),
        pytest.param(member(exchange_key="not hex"), id="a key that is not hexadecimal"),
        pytest.param(member("edge-c"), id="another node's"),
    ],
)
def test_a_member_that_can_not_be_one_is_refused(record: Member) -> None:
    assert refusal_of(lambda each: Member.decode("edge-b", each), record.encode()) is Refusal.MALFORMED


def test_a_node_whose_clock_has_no_zone_is_refused() -> None:
    """Comparing it with ours would fail wherever nodes are listed."""
    facts = json.loads(LIVE.encode()) | {"clock": "2026-11-30T20:00:00"}
    with pytest.raises(Refused):
        Live.decode(json.dumps(facts).encode())


def test_neither_keys_nor_certificates_are_shown() -> None:
    assert "PRIVATE" not in repr(WITH_RSA)
    assert "BEGIN" not in repr(WITH_RSA)


@pytest.mark.parametrize(
    ("other", "is_same"),
    [
        pytest.param(site_record(by="edge-b", at=AT + timedelta(days=1)), True, id="said by another node, later"),
        pytest.param(site_record(numbers={}), True, id="with other numbers"),
        pytest.param(site_record("mail.client-a.test"), False, id="another host"),
        pytest.param(site_record(settings=None), False, id="without settings"),
        pytest.param(site_record(removal=Removal(AT, "edge-a")), False, id="removed"),
    ],
)
def test_two_records_are_the_same_when_they_say_the_same_about_the_site(other: SiteRecord, is_same: bool) -> None:
    assert (other.digest == site_record().digest) is is_same


@pytest.mark.parametrize(
    ("doing", "source", "act"),
    [
        pytest.param("intake", "domains/a.test/new.pem", Act.DROP, id="a drop"),
        pytest.param("intake", "upload.pem", Act.DROP, id="a drop with an odd name"),
        pytest.param("intake", "upload", Act.PERSON, id="an upload"),
        pytest.param("rollback", "command", Act.PERSON, id="a rollback"),
        pytest.param("import", "import:certbot", Act.PERSON, id="an import"),
        pytest.param("order", "acme:letsencrypt", Act.ORDER, id="an order"),
        pytest.param("renewal", "acme:letsencrypt", Act.ORDER, id="a renewal"),
        pytest.param("self_signed", "self-signed", Act.SELF_SIGNED, id="self-signed"),
    ],
)
def test_why_a_version_went_live_follows_from_its_record(doing: str, source: str, act: Act) -> None:
    assert act_of(doing, source) is act
    assert replace(HEAD, doing=doing, source=source).act is act


def test_the_digest_of_all_heads_knows_sites_and_versions_but_no_order() -> None:
    one = heads_digest({"a.test": "1", "b.test": "2"})
    assert one == heads_digest({"b.test": "2", "a.test": "1"})
    assert (
        len({one, heads_digest({}), heads_digest({"a.test": "2", "b.test": "1"}), heads_digest({"a.test": "1"})}) == 4
    )


@pytest.mark.parametrize(
    ("value", "number"),
    [
        pytest.param(encode_seq(712), 712, id="a number"),
        pytest.param(None, 0, id="no key"),
        pytest.param(b"", 0, id="empty"),
        pytest.param(b"-4", 0, id="negative"),
        pytest.param(b"9" * 18, 10**18 - 1, id="the highest"),
        pytest.param(b"9" * 4000, 0, id="a number that nobody counts to"),
        pytest.param("٣".encode(), 0, id="digits of another script"),
    ],
)
def test_the_number_of_declarations_is_0_where_it_is_none(value: bytes | None, number: int) -> None:
    assert decode_seq(value) == number


def test_a_folder_whose_name_is_no_text_does_not_keep_a_version_from_the_others() -> None:
    """Names of files that are not UTF-8 come as lone surrogates (PEP 383)."""
    record = head_record(source="/var/drop/caf\udce9")
    assert HeadRecord.decode(SITE, record.encode()).source == "/var/drop/caf?"
