"""One complete example of every shape of the API, for its OpenAPI document. No logic but `add_examples`."""

from __future__ import annotations

from typing import Any

_HOST, _ADDITIONAL = "webmail.client-a.example", "autodiscover.client-a.example"
_FINGERPRINT = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
_BEGAN, _MADE, _DUE, _ENDS = (
    "2026-11-01T04:12:09Z",
    "2026-11-01T04:12:17Z",
    "2026-12-31T04:12:09Z",
    "2027-01-30T04:12:09Z",
)

_FINDING = {"code": "missing_intermediate", "message": "the chain lacks CN=R13: clients may not trust it"}
_ATTEMPT = {
    "at": _MADE,
    "doing": "renew",
    "outcome": "done",
    "reason": "activated",
    "message": f"version 4 is live: {_HOST}, {_ADDITIONAL}, valid until 2027-01-30",
    "version": 4,
    "next_attempt": None,
    "source": "acme:letsencrypt",
}
_SETTINGS = {
    "host": _HOST,
    "additional_names": [_ADDITIONAL],
    "certificate": "acme",
    "contact": ["it@client-a.example"],
}
_SUMMARY = {
    "site": _HOST,
    "host": _HOST,
    "names": [_HOST, _ADDITIONAL],
    "source": "acme",
    "standing": "ok",
    "not_before": _BEGAN,
    "not_after": _ENDS,
    "renews_at": _DUE,
    "headline": "",
    "problems": 0,
}
_RENEWAL = {
    "due": _DUE,
    "reason": "suggested_window",
    "failures": 0,
    "failing_since": None,
    "next_attempt": None,
    "cause": None,
    "detail": None,
    "remedy": None,
    "waiting": None,
    "left_out": [],
    "window_start": "2026-12-30T00:00:00Z",
    "window_end": "2027-01-01T00:00:00Z",
    "explanation_url": None,
}
_TOKEN = {
    "key": "k3x9",
    "name": "monitoring",
    "scope": "read",
    "sites": None,
    "made_at": _MADE,
    "made_by": "anna",
}
_AUDITED = {
    "at": _MADE,
    "who": "anna",
    "from": "192.0.2.7",
    "action": "cert.install",
    "site": _HOST,
    "outcome": "done",
    "detail": "version 4",
}

EXAMPLES: dict[str, dict[str, Any]] = {
    "Attempt": _ATTEMPT,
    "AuditEntry": _AUDITED,
    "AuditPage": {"entries": [_AUDITED], "before": 1041},
    "Changed": {"site": _HOST, "message": f"site {_HOST} changed: certificate"},
    "CheckShape": {
        "listener": "[::]:443",
        "kind": "https",
        "server_name": _HOST,
        "certificate": _HOST,
        "version": 4,
        "fingerprint": _FINGERPRINT,
        "served_fingerprint": _FINGERPRINT,
        "ok": True,
        "problem": None,
    },
    "CodesOff": {"password": "the current password"},
    "CodesOn": {"secret": "JBSWY3DPEHPK3PXP", "code": "492039"},
    "CodesSecret": {
        "secret": "JBSWY3DPEHPK3PXP",
        "uri": "otpauth://totp/certedge:anna?secret=JBSWY3DPEHPK3PXP&issuer=certedge",
    },
    "FileShape": {"name": "fullchain.pem", "content": "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCg=="},
    "FindingShape": _FINDING,
    "Invitation": {"path": "/setup/2xVJq0cHn1mZ"},
    "JobShape": {
        "id": "7d1c",
        "site": _HOST,
        "action": "order",
        "state": "done",
        "begun_at": _BEGAN,
        "steps": [{"at": _BEGAN, "message": "all names are validated; requesting the ec256 certificate"}],
        "result": {"site": _HOST, "outcome": "done", "version": 4, "fingerprint": _FINGERPRINT},
        "failure": None,
    },
    "MadeTokenShape": {"token": _TOKEN, "secret": "cet_…"},
    "Me": {"who": "anna", "scope": "admin", "sites": None},
    "OrderRequest": {"force": False, "agree_to_terms": True},
    "PasswordChange": {"present": "the current password", "new": "a longer one than before"},
    "PreviewShape": {
        "accepted": True,
        "is_forcible": False,
        "certificate": {
            "dns_names": [_HOST],
            "not_before": _BEGAN,
            "not_after": _ENDS,
            "fingerprint": _FINGERPRINT,
            "issuer": "CN=R13,O=Let's Encrypt,C=US",
            "serial": "04a1b2c3d4e5f60718293a4b5c6d7e8f9012",
            "key": "ec 256",
            "chain_length": 0,
            "is_self_signed": False,
        },
        "covered": [_HOST],
        "missing": [_ADDITIONAL],
        "findings": [{**_FINDING, "is_forcible": False}],
    },
    "ProblemDocument": {
        "type": "urn:certedge:problem:not_found",
        "title": "Not found",
        "status": 404,
        "detail": f"there is no site {_HOST}",
        "remedy": "GET /api/v1/sites lists all sites",
    },
    "Recipients": {"to": ["it@client-a.example"]},
    "RenewalShape": _RENEWAL,
    "SessionShape": {"address": "192.0.2.7", "made_at": _BEGAN, "seen_at": _MADE, "is_this": True},
    "SettingsShape": _SETTINGS,
    "SiteList": {"main": None, "sites": [_SUMMARY], "total": 1, "offset": 0, "standings": {"ok": 1}},
    "SiteShape": {
        "site": _HOST,
        "host": _HOST,
        "names": [_HOST, _ADDITIONAL],
        "source": "acme",
        "standing": "ok",
        "state": "ok",
        "version": 4,
        "fingerprint": _FINGERPRINT,
        "dns_names": [_HOST, _ADDITIONAL],
        "not_after": _ENDS,
        "problems": [],
        "last_attempt": _ATTEMPT,
        "settings": _SETTINGS,
        "renewal": _RENEWAL,
    },
    "SiteSummary": _SUMMARY,
    "Taken": {
        "site": _HOST,
        "outcome": "done",
        "version": 4,
        "fingerprint": _FINGERPRINT,
        "message": f"version 4 is live: {_HOST}, valid until 2027-01-30",
    },
    "Terms": {"agree_to_terms": True},
    "TokenRequest": {"name": "monitoring", "scope": "read", "sites": [_HOST]},
    "TokenShape": _TOKEN,
    "Upload": {
        "files": [{"name": "client-a.p12", "content": "MIIKMQIBAzCCCe8GCSqGSIb3DQEHAaCCCeAEggnc"}],
        "password": "the file's password",
        "force": False,
    },
    "UserRequest": {"role": "domain", "sites": [_HOST]},
    "UserShape": {
        "name": "bert",
        "role": "domain",
        "sites": [_HOST],
        "has_password": True,
        "has_one_time_codes": False,
        "made_at": _MADE,
    },
    "VersionShape": {
        "version": 4,
        "is_live": True,
        "made_at": _MADE,
        "source": "acme:letsencrypt",
        "fingerprint": _FINGERPRINT,
        "dns_names": [_HOST, _ADDITIONAL],
        "not_before": _BEGAN,
        "not_after": _ENDS,
        "issuer": "CN=R13,O=Let's Encrypt,C=US",
        "serial": "04a1b2c3d4e5f60718293a4b5c6d7e8f9012",
        "key": "ec 256",
        "problems": [],
    },
}


def add_examples(document: dict[str, Any]) -> dict[str, Any]:
    """Add them to the shapes of an OpenAPI document."""
    for name, schema in document["components"]["schemas"].items():
        if name in EXAMPLES:
            schema["examples"] = [EXAMPLES[name]]
    return document
