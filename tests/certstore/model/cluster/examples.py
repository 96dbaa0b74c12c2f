"""Records of a made-up cluster, shared by the tests of what nodes say to each other."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from certstore.model.cluster.records import HeadRecord, Member, NodeListener, Role, SiteRecord
from certstore.model.settings.models import SiteSettings, Source
from certstore.model.version import Version, chain_length
from certstore.store.versions import digest_of, files_of
from tests.certstore.model.bundles import CA, accepted

CLUSTER = "0123456789abcdef"
SITE = "webmail.client-a.test"
AT = datetime(2026, 11, 30, 20, tzinfo=UTC)
DAY = timedelta(days=1)


def site_record(host: str = SITE, **changes: Any) -> SiteRecord:
    """A site with settings; `settings` and the other fields of the record can be given."""
    settings = SiteSettings(host=host, additional_names=("imap.client-a.test",), certificate=Source.FILE)
    facts: dict[str, Any] = {"settings": settings, "numbers": {host: 4}, "by": "edge-a", "at": AT} | changes
    return SiteRecord(site=SITE, host=host, **facts)


def head_record(
    *names: str, key_type: str = "ec256", doing: str = "intake", source: str = "", **facts: Any
) -> HeadRecord:
    """A version with real PEM texts; `facts` replace those of the version. With an RSA pair where `rsa` is true."""
    has_rsa_pair = facts.pop("rsa", False)
    names = names or (SITE,)
    issued = [CA.issue(*names, key_type=key_type), *([CA.issue(*names, key_type="rsa2048")] if has_rsa_pair else [])]
    bundle = accepted(*(part for each in issued for part in (each.privkey_pem, each.fullchain_pem)))
    pair, files = bundle.primary, files_of(bundle)
    version: dict[str, Any] = {
        "site": SITE,
        "number": 3,
        "made_at": AT,
        "source": source or "domains/webmail.client-a.test",
        "digest": digest_of(files),
        "chain_length": chain_length(pair),
        "has_rsa_pair": bundle.rsa is not None,
        "problems": bundle.problems,
        "fingerprint": pair.fingerprint,
        "dns_names": pair.dns_names,
        "not_before": pair.not_before,
        "not_after": pair.not_after,
        "issuer": pair.issuer,
        "serial": pair.serial,
        "key_kind": pair.key_kind,
        "key_bits": pair.key_bits,
        "is_self_signed": pair.is_self_signed,
    }
    made = Version(**(version | facts))
    return HeadRecord.of(made, files, doing=doing, source=source or made.source, by="edge-a", at=AT)


def member(name: str = "edge-b", **changes: Any) -> Member:
    listeners = (NodeListener("https", "::", 443), NodeListener("imaps", "192.0.2.7", 993, has_proxy_protocol=True))
    facts: dict[str, Any] = {
        "role": Role.EDGE, "exchange_key": "11" * 32, "signing_key": "22" * 32, "by": "edge-a", "at": AT,
        "addresses": ("192.0.2.7",), "listeners": listeners,
    }  # fmt: skip
    return Member(name=name, **(facts | changes))
