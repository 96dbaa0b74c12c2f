from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from certstore.model.certificate.findings import Finding
from certstore.model.snapshot import ServedCertificate
from certstore.model.version import Version, chain_length
from tests.certstore.model.bundles import ONE, accepted

VERSION = Version(
    site="a.test",
    number=7,
    made_at=datetime(2026, 11, 1, 8, 30, tzinfo=UTC),
    source="upload",
    digest="d" * 64,
    fingerprint="f" * 64,
    dns_names=("a.test", "*.b.test"),
    not_before=datetime(2026, 10, 1, tzinfo=UTC),
    not_after=datetime(2027, 1, 1, tzinfo=UTC),
    issuer="CN=CA",
    serial="0a",
    key_kind="ec",
    key_bits=256,
    is_self_signed=False,
    chain_length=1,
    has_rsa_pair=True,
    problems=(Finding("expired", "it expired"),),
)


@pytest.mark.parametrize(
    "version",
    [
        pytest.param(VERSION, id="with problems"),
        pytest.param(replace(VERSION, problems=(), dns_names=()), id="without problems and names"),
    ],
)
def test_version_comes_back_from_its_json(version: Version) -> None:
    facts = json.loads(json.dumps(version.to_json()))
    assert {"site", "number"}.isdisjoint(facts), "the folder's path holds them"
    assert Version.from_json("a.test", 7, facts) == version


@pytest.mark.parametrize("name", [name for name in Version.__slots__ if name not in {"site", "number"}])
def test_json_without_a_fact_is_no_version(name: str) -> None:
    facts = VERSION.to_json()
    del facts[name]
    with pytest.raises((KeyError, TypeError)):
        Version.from_json("a.test", 7, facts)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"made_at": "yesterday"}, id="a time that is none"),
        pytest.param({"not_after": 5}, id="a number for a time"),
        pytest.param({"problems": [["expired"]]}, id="a problem without a message"),
        pytest.param({"dns_names": None}, id="no list of names"),
    ],
)
def test_json_with_odd_facts_is_no_version(changes: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        Version.from_json("a.test", 7, VERSION.to_json() | changes)


def test_served_facts_are_those_of_the_version() -> None:
    assert VERSION.served == ServedCertificate(
        "a.test", 7, "f" * 64, VERSION.dns_names, VERSION.not_before, VERSION.not_after, False, True
    )


@pytest.mark.parametrize(
    ("contents", "expected"),
    [
        pytest.param([ONE.combined_pem], 1, id="one intermediate"),
        pytest.param([ONE.privkey_pem, ONE.cert_pem], 0, id="the leaf alone"),
    ],
)
def test_chain_is_counted_without_the_leaf(contents: list[bytes], expected: int) -> None:
    assert chain_length(accepted(*contents).primary) == expected
