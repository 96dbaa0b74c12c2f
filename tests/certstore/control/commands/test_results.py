"""The JSON of results is an interface (socket, `--json`, API): its keys are pinned here, and it reads back."""

import datetime as dt
import json
from typing import Any

import pytest

from certstore.control.commands.results import (
    AccountFacts,
    AccountsResult,
    ClusterStatusResult,
    CommandResult,
    EngineFacts,
    InstallResult,
    InvitationResult,
    MembershipResult,
    NodeFacts,
    NotDue,
    OrderOutcome,
    OrderResult,
    PreflightNote,
    PreflightResult,
    RemoveResult,
    RenewResult,
    Served,
    SiteResult,
    StandingRecord,
    TokenFacts,
    TokenResult,
    TokensResult,
    Untouched,
    UserFacts,
    UserResult,
    UsersResult,
)
from certstore.control.protocol import RequestFailed
from certstore.model.certificate.findings import Finding, Refusal
from certstore.model.console.authorization import Scope
from certstore.model.console.people import Role
from certstore.model.record import Outcome
from certstore.model.renewal.preflight_facts import Severity
from certstore.model.renewal.ways import NameWay
from certstore.model.selection import Reason
from certstore.model.settings.models import Source

AT = dt.datetime(2026, 3, 1, 12, 0, tzinfo=dt.UTC)
SERVED = Served("a.test", "main", 3, "ab" * 32, Reason.UNKNOWN_NAME)
SERVED_JSON = {
    "server_name": "a.test",
    "certificate": "main",
    "version": 3,
    "fingerprint": "ab" * 32,
    "reason": "unknown_name",
}
FINDING = Finding(Refusal.EXPIRED, "it has expired", is_forcible=True)
NOTE = PreflightNote("caa", Severity.FATAL, None, "CAA forbids it", "allow the CA")
DONE = OrderResult(
    site="a.test",
    outcome=OrderOutcome.DONE,
    findings=(),
    version=2,
    fingerprint="cd",
    message="version 2 is live",
    names=("a.test",),
    left_out=(),
    next_attempt=None,
)
FAILED = OrderResult(
    site="a.test",
    outcome=OrderOutcome.FAILED,
    findings=(NOTE,),
    message="refused",
    cause="caa",
    remedy="allow the CA",
    names_at_fault=("a.test",),
    link=None,
    next_attempt=AT,
)
HELD = OrderResult(
    site="a.test", outcome=OrderOutcome.HELD, findings=(), message="limit", remedy="wait", next_attempt=None
)
NOT_DUE = NotDue("b.test", Untouched.NOT_DUE, "it changes", "not due before it changes")

PINNED: list[tuple[CommandResult, dict[str, Any]]] = [
    (
        InstallResult("a.test", Outcome.REFUSED, "expired", None, None, "it has expired", (FINDING,), (), SERVED),
        {
            "site": "a.test",
            "outcome": "refused",
            "reason": "expired",
            "version": None,
            "fingerprint": None,
            "message": "it has expired",
            "findings": [{"code": "expired", "message": "it has expired", "is_forcible": True}],
            "problems": [],
            "served": SERVED_JSON,
        },
    ),
    (
        SiteResult("a.test", "a.test", ("a.test",), Source.ACME, "added", ()),
        {"site": "a.test", "host": "a.test", "names": ["a.test"], "source": "acme", "message": "added", "problems": []},
    ),
    (RemoveResult("a.test", "removed", SERVED), {"site": "a.test", "message": "removed", "served": SERVED_JSON}),
    (
        DONE,
        {
            "site": "a.test",
            "outcome": "done",
            "findings": [],
            "version": 2,
            "fingerprint": "cd",
            "message": "version 2 is live",
            "names": ["a.test"],
            "left_out": [],
            "next_attempt": None,
        },
    ),
    (
        FAILED,
        {
            "site": "a.test",
            "outcome": "failed",
            "findings": [
                {
                    "code": "caa",
                    "severity": "fatal",
                    "name": None,
                    "message": "CAA forbids it",
                    "remedy": "allow the CA",
                }
            ],
            "message": "refused",
            "cause": "caa",
            "remedy": "allow the CA",
            "names_at_fault": ["a.test"],
            "link": None,
            "next_attempt": "2026-03-01T12:00:00+00:00",
        },
    ),
    (
        RenewResult((NOT_DUE, HELD)),
        {
            "sites": [
                {"site": "b.test", "outcome": "not_due", "due": "it changes", "message": "not due before it changes"},
                {
                    "site": "a.test",
                    "outcome": "held",
                    "findings": [],
                    "message": "limit",
                    "remedy": "wait",
                    "next_attempt": None,
                },
            ]
        },
    ),
    (
        PreflightResult("a.test", "https://ca.test/dir", ("a.test",), (), (NameWay("a.test", "http-01", "open"),)),
        {
            "site": "a.test",
            "ca": "https://ca.test/dir",
            "names": ["a.test"],
            "findings": [],
            "ways": [{"name": "a.test", "way": "http-01", "why": "open"}],
        },
    ),
    (
        PreflightResult(
            "a.test",
            "https://ca.test/dir",
            ("a.test",),
            (),
            (),
            (StandingRecord("_validation-persist.a.test", "ca.test"),),
        ),
        {
            "site": "a.test",
            "ca": "https://ca.test/dir",
            "names": ["a.test"],
            "findings": [],
            "standing_records": [{"name": "_validation-persist.a.test", "value": "ca.test"}],
        },
    ),
    (
        AccountsResult((AccountFacts("ca", "https://ca.test/dir", None, (), None),)),
        {"accounts": [{"ca": "ca", "directory": "https://ca.test/dir", "url": None, "contact": [], "made_at": None}]},
    ),
    (
        UsersResult((UserFacts("anna", Role.ADMIN, (), True, False, AT),)),
        {
            "users": [
                {
                    "name": "anna",
                    "role": "admin",
                    "sites": [],
                    "has_password": True,
                    "has_one_time_codes": False,
                    "made_at": "2026-03-01T12:00:00+00:00",
                }
            ]
        },
    ),
    (
        UserResult(name="anna", role=Role.DOMAIN, sites=("a.test",), message="added"),
        {"name": "anna", "role": "domain", "sites": ["a.test"], "message": "added"},
    ),
    (UserResult(name="anna", message="removed"), {"name": "anna", "message": "removed"}),
    (
        TokensResult((TokenFacts("5f", "ci", Scope.READ, None, AT, "anna"),)),
        {
            "tokens": [
                {
                    "key": "5f",
                    "name": "ci",
                    "scope": "read",
                    "sites": None,
                    "made_at": "2026-03-01T12:00:00+00:00",
                    "made_by": "anna",
                }
            ]
        },
    ),
    (
        MembershipResult("0badcafe0badcafe", "edge-b", "edge-b is a member", 3, ("a note",)),
        {
            "cluster": "0badcafe0badcafe",
            "node": "edge-b",
            "message": "edge-b is a member",
            "sites": 3,
            "notes": ["a note"],
        },
    ),
    (
        InvitationResult("edge-b", AT, "-----BEGIN"),
        {"node": "edge-b", "expires": "2026-03-01T12:00:00+00:00", "text": "-----BEGIN"},
    ),
    (
        ClusterStatusResult(
            "0badcafe0badcafe",
            "edge-a",
            "1 node, edge-b 2 behind",
            (NodeFacts("edge-b", "edge", "behind", 2, 3, "0.2", True, (Finding("node_behind", "2 behind"),)),),
            (EngineFacts("https://10.0.0.11:2379", "3.4.23", True, 24576, None),),
            (),
        ),
        {
            "cluster": "0badcafe0badcafe",
            "node": "edge-a",
            "summary": "1 node, edge-b 2 behind",
            "nodes": [
                {
                    "name": "edge-b",
                    "role": "edge",
                    "state": "behind",
                    "behind": 2,
                    "sites": 3,
                    "release": "0.2",
                    "is_caretaker": True,
                    "problems": [{"code": "node_behind", "message": "2 behind"}],
                }
            ],
            "engine": [
                {
                    "endpoint": "https://10.0.0.11:2379",
                    "version": "3.4.23",
                    "is_leader": True,
                    "used_bytes": 24576,
                    "problem": None,
                }
            ],
            "problems": [],
        },
    ),
    (
        TokenResult("5f", "ci", Scope.READ, ("a.test",), "cet_5f_x"),
        {"key": "5f", "name": "ci", "scope": "read", "sites": ["a.test"], "token": "cet_5f_x"},
    ),
]


@pytest.mark.parametrize(("result", "facts"), PINNED, ids=lambda value: type(value).__name__)
def test_a_result_is_this_json_and_reads_back(result: CommandResult, facts: dict[str, Any]) -> None:
    assert json.dumps(result.to_json()) == json.dumps(facts)
    assert type(result).from_json(json.loads(json.dumps(facts))) == result


def test_facts_of_another_shape_are_refused() -> None:
    with pytest.raises(RequestFailed, match="`message` is missing"):
        UserResult.from_json({"name": "anna"})
    with pytest.raises(RequestFailed, match="`outcome` has to be one of"):
        OrderResult.from_json({**DONE.to_json(), "outcome": "perfect"})


def test_a_key_of_a_newer_release_is_passed_over() -> None:
    assert OrderResult.from_json({**DONE.to_json(), "colour": "green"}) == DONE


def test_the_text_of_a_token_does_not_show() -> None:
    assert "cet_5f_x" not in repr(TokenResult("5f", "ci", Scope.READ, None, "cet_5f_x"))
