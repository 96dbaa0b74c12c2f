"""What the values in the engine hold, once opened: sites, certificates, members and how they are.

Each is a frozen dataclass with `encode` and `decode`; what a path already tells (the site, the node) is not repeated in
the value. A record names the schema that it needs, so a node of an older release skips it rather than losing what it
does not know. `decode` raises Refused, whatever the bytes are. Pure.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from certstore.model import json_facts
from certstore.model import layout as names
from certstore.model.certificate.findings import Finding
from certstore.model.cluster.wire import Refusal, Refused
from certstore.model.names import is_host_name, is_site_key
from certstore.model.record import Record
from certstore.model.settings.models import SiteSettings
from certstore.model.snapshot import MAIN
from certstore.model.version import Version

SCHEMA = 1
"""What this release writes. It is raised with a change that an older release would misread."""
NEWEST_SCHEMA = 1
"""The newest that this release reads."""

PERSON_DOING = ("rollback", "activate", "import")
"""Actions in records that only a person takes."""
UPLOAD_SOURCE = "upload"
LAST_ATTEMPTS = 5
"""How many of a site's attempts a node tells the others about."""


class Role(StrEnum):
    """A front serves sites and can change none."""

    EDGE = "edge"
    FRONT = "front"


class Act(StrEnum):
    """Why a version went live, as far as it decides which of two wins."""

    PERSON = "person"
    DROP = "drop"
    ORDER = "order"
    SELF_SIGNED = "self_signed"


def act_of(doing: str, source: str) -> Act:
    """`doing` and `source` are those of the record of the activation."""
    if doing == "self_signed":
        return Act.SELF_SIGNED
    if doing in PERSON_DOING or source == UPLOAD_SOURCE:
        return Act.PERSON
    return Act.DROP if doing == "intake" else Act.ORDER


@dataclass(frozen=True, slots=True)
class Removal:
    """Why a site is gone: `version` was live then, `by` is the node where it was removed."""

    at: datetime
    by: str
    version: int | None = None

    def to_json(self) -> dict[str, Any]:
        facts: dict[str, Any] = json_facts.encode(self, has_defaults=True)
        return facts

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Self:
        return json_facts.decode(cls, facts)


@dataclass(frozen=True, slots=True)
class SiteRecord:
    """`d/site/SITE`: what a site declares, or, with `removal`, that it is gone.

    `settings` is None for a bare site, whose host is its folder's name. `numbers` tell when each name was first
    declared anywhere in the cluster. `by` is the node where this was said, `at` its clock: for people, never for
    decisions.
    """

    site: str
    host: str
    settings: SiteSettings | None
    numbers: Mapping[str, int]
    by: str
    at: datetime
    removal: Removal | None = None

    @property
    def digest(self) -> str:
        """The same for two records that say the same about the site, whoever says it and when."""
        facts = [self.host, _settings_facts(self.settings), self.removal is not None]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def encode(self) -> bytes:
        return _encode({
            "host": self.host,
            "settings": _settings_facts(self.settings),
            "numbers": dict(self.numbers),
            "by": self.by,
            "at": self.at.isoformat(),
            "removal": self.removal and self.removal.to_json(),
        })  # fmt: skip

    @classmethod
    def decode(cls, site: str, plaintext: bytes) -> Self:
        return _decoded(plaintext, lambda facts: cls._from(site, facts))

    @classmethod
    def _from(cls, site: str, facts: Mapping[str, Any]) -> Self:
        settings, removal, host = facts["settings"], facts["removal"], facts["host"]
        _need(is_site_key(site) and isinstance(host, str), "site and host")
        _need(is_host_name(host) or site == MAIN, "a host")
        numbers = {str(name): _whole(number) for name, number in facts["numbers"].items()}
        return cls(
            site=site,
            host=host,
            settings=SiteSettings.model_validate(settings) if settings is not None else None,
            numbers=numbers,
            by=_text(facts["by"]),
            at=_instant(facts["at"]),
            removal=Removal.from_json(removal) if removal is not None else None,
        )


@dataclass(frozen=True, slots=True)
class HeadRecord:
    """`d/head/SITE` and `d/prev/SITE`: a version with its files, and why it went live.

    The PEM texts are those of the version's files; `rsa_*` are empty without an RSA pair. `by` is the node where it
    went live, at `at` by its clock. `tried_with` is the TLS library that has loaded it on the node that wrote this,
    empty where none has.
    """

    version: Version
    privkey_pem: bytes = field(repr=False)
    cert_pem: bytes = field(repr=False)
    chain_pem: bytes = field(repr=False)
    rsa_privkey_pem: bytes = field(repr=False)
    rsa_fullchain_pem: bytes = field(repr=False)
    doing: str
    source: str
    by: str
    at: datetime
    tried_with: str = ""

    @property
    def digest(self) -> str:
        """That of the version's files."""
        return self.version.digest

    @property
    def act(self) -> Act:
        return act_of(self.doing, self.source)

    @property
    def files(self) -> dict[str, bytes]:
        """The PEM files of the version by name, as the archive holds them."""
        fullchain = self.cert_pem + self.chain_pem
        files = {
            names.FULLCHAIN: fullchain,
            names.PRIVKEY: self.privkey_pem,
            names.CERT: self.cert_pem,
            names.CHAIN: self.chain_pem,
            names.COMBINED: self.privkey_pem + fullchain,
        }
        if self.version.has_rsa_pair:
            files |= {names.FULLCHAIN_RSA: self.rsa_fullchain_pem, names.PRIVKEY_RSA: self.rsa_privkey_pem}
        return files

    @classmethod
    def of(
        cls,
        version: Version,
        files: Mapping[str, bytes],
        *,
        doing: str,
        source: str,
        by: str,
        at: datetime,
        tried_with: str = "",
    ) -> Self:
        """`files` are those of `store.versions.read_files`."""
        return cls(
            version=version,
            privkey_pem=files[names.PRIVKEY],
            cert_pem=files[names.CERT],
            chain_pem=files[names.CHAIN],
            rsa_privkey_pem=files.get(names.PRIVKEY_RSA, b""),
            rsa_fullchain_pem=files.get(names.FULLCHAIN_RSA, b""),
            doing=doing,
            source=source,
            by=by,
            at=at,
            tried_with=tried_with,
        )

    def encode(self) -> bytes:
        return _encode({
            "number": self.version.number,
            "version": self.version.to_json(),
            "pem": [each.decode("ascii") for each in self._pem],
            "doing": self.doing,
            "source": self.source,
            "by": self.by,
            "at": self.at.isoformat(),
            "tried_with": self.tried_with,
        })  # fmt: skip

    @classmethod
    def decode(cls, site: str, plaintext: bytes) -> Self:
        return _decoded(plaintext, lambda facts: cls._from(site, facts))

    @property
    def _pem(self) -> tuple[bytes, ...]:
        return self.privkey_pem, self.cert_pem, self.chain_pem, self.rsa_privkey_pem, self.rsa_fullchain_pem

    @classmethod
    def _from(cls, site: str, facts: Mapping[str, Any]) -> Self:
        _need(is_site_key(site), "a site")
        number = _whole(facts["number"])
        _need(number >= 1, "a version's number")
        pem = [_text(each).encode("ascii") for each in facts["pem"]]
        version = Version.from_json(site, number, facts["version"])
        _need(
            all(each.tzinfo is not None for each in (version.made_at, version.not_before, version.not_after)), "times"
        )
        doing, source = _text(facts["doing"]), _text(facts["source"])
        privkey, cert, chain, rsa_privkey, rsa_fullchain = pem
        _need(version.has_rsa_pair == bool(rsa_privkey and rsa_fullchain), "an RSA pair where there is one")
        return cls(
            version, privkey, cert, chain, rsa_privkey, rsa_fullchain,
            doing, source, _text(facts["by"]), _instant(facts["at"]), _text(facts.get("tried_with", "")),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Said:
    """`d/said/NODE/SITE`: a site's problems and last attempts as one node sees them."""

    problems: tuple[Finding, ...] = ()
    attempts: tuple[Record, ...] = ()

    def encode(self) -> bytes:
        return _encode({
            "problems": [[each.code, each.message] for each in self.problems],
            "attempts": [each.to_json() for each in self.attempts[-LAST_ATTEMPTS:]],
        })  # fmt: skip

    @classmethod
    def decode(cls, plaintext: bytes) -> Self:
        return _decoded(plaintext, cls._from)

    @classmethod
    def _from(cls, facts: Mapping[str, Any]) -> Self:
        problems = tuple(Finding(_text(code), _text(message)) for code, message in facts["problems"])
        return cls(problems, tuple(Record.from_json(each) for each in facts["attempts"][-LAST_ATTEMPTS:]))


@dataclass(frozen=True, slots=True)
class NodeListener:
    """One listener of a node, as `edge.yaml` names it, so that others can check it by real handshakes."""

    kind: str
    host: str
    port: int
    has_proxy_protocol: bool = False


@dataclass(frozen=True, slots=True)
class Member(json_facts.Kept):
    """`n/member/NODE`. The public keys are raw, in hex: X25519 receives new cluster keys, Ed25519 signs `n/live`.

    `addresses` are where clients reach the node; a node without listeners has neither. `by` is the node that invited
    it, or that took it out: a member that `has_left` stays on record, so that an old record can't bring it back.
    """

    name: str
    role: Role
    exchange_key: str
    signing_key: str
    by: str
    at: datetime
    addresses: tuple[str, ...] = ()
    listeners: tuple[NodeListener, ...] = ()
    has_left: bool = False

    def encode(self) -> bytes:
        return _encode(self.to_json())

    @classmethod
    def decode(cls, node: str, plaintext: bytes) -> Self:
        return _decoded(plaintext, lambda facts: cls._of_node(node, facts))

    @classmethod
    def _of_node(cls, node: str, facts: Mapping[str, Any]) -> Self:
        member = cls.from_json(facts)
        _need(member.name == node, "the name of the node that the path names")
        _need(all(len(bytes.fromhex(key)) == 32 for key in (member.exchange_key, member.signing_key)), "two keys")
        return member


@dataclass(frozen=True, slots=True)
class Live(json_facts.Kept):
    """`n/live/NODE`: how a node is, for as long as its lease lasts.

    `instance` is drawn at each start, so two machines with one name are told apart; `applied` is the engine's revision
    up to which everything is served here; `heads` stands for all live versions; `newest_schema` is what its release
    reads. `is_partial`: it keeps only some of the sites. `problems` are a front's: it can't write anywhere else.
    `key_ids` are the keys that it has, and it seals with the first; an older release does not say.
    """

    instance: str
    applied: int
    heads: str
    sites: int
    release: str
    clock: datetime
    newest_schema: int = NEWEST_SCHEMA
    workers: int = 0
    is_partial: bool = False
    problems: tuple[tuple[str, str], ...] = ()
    key_ids: tuple[str, ...] = ()

    def encode(self) -> bytes:
        return _encode(self.to_json())

    @classmethod
    def decode(cls, plaintext: bytes) -> Self:
        return _decoded(plaintext, cls._of_facts)

    @classmethod
    def _of_facts(cls, facts: Mapping[str, Any]) -> Self:
        live = cls.from_json(facts)
        _need(live.clock.tzinfo is not None, "a time zone")  # else no comparison with our clock is possible
        return live


@dataclass(frozen=True, slots=True)
class Meta(json_facts.Kept):
    """`meta`: what a cluster is. `key_ids`, in hex, are in force, and the first seals; `retired` are not any more.

    `stolen` are nodes because of which the key is being changed. Every private key that was made before
    `exposed_before` was known to such a node.
    """

    cluster: str
    made_at: datetime
    key_ids: tuple[str, ...]
    retired: tuple[str, ...] = ()
    stolen: tuple[str, ...] = ()
    exposed_before: datetime | None = None

    def encode(self) -> bytes:
        return _encode(self.to_json())

    @classmethod
    def decode(cls, plaintext: bytes) -> Self:
        return _decoded(plaintext, cls.from_json)


def heads_digest(digests: Mapping[str, str]) -> str:
    """One text for all live versions: `digests` has that of each site's version."""
    whole = hashlib.sha256()
    for site in sorted(digests):
        whole.update(f"{site} {digests[site]}\n".encode())
    return whole.hexdigest()


def encode_seq(number: int) -> bytes:
    """`seq` is a plain number: a node takes the higher one of it and what it knows."""
    return str(number).encode()


def decode_seq(value: bytes | None) -> int:
    """0 for what is no number: it only keeps numbers rising, and each node remembers the highest that it saw."""
    return int(value) if value is not None and value.isdigit() and len(value) <= 18 else 0


# Inside


def _settings_facts(settings: SiteSettings | None) -> dict[str, Any] | None:
    return settings.model_dump(mode="json", exclude_defaults=True) if settings is not None else None


def _encode(facts: Mapping[str, Any]) -> bytes:
    text = json.dumps({"schema": SCHEMA, **facts}, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", "replace")  # a path in `source` may hold what is no character


def _decoded[T](plaintext: bytes, read: Callable[[Mapping[str, Any]], T]) -> T:
    try:
        facts = json.loads(plaintext)
        schema = _whole(facts["schema"])
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise Refused(Refusal.MALFORMED, f"it can't be understood: {type(error).__name__}") from None
    if schema > NEWEST_SCHEMA:
        raise Refused(
            Refusal.NEWER_RELEASE, f"it has schema {schema}; this release reads {NEWEST_SCHEMA}, so update this node"
        )
    try:
        return read(facts)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # Never the error's text: it may quote what the record holds.
        raise Refused(Refusal.MALFORMED, f"it can't be understood: {type(error).__name__}") from None


def _need(is_so: bool, what: str) -> None:
    if not is_so:
        raise ValueError(f"the record needs {what}")


def _text(value: Any) -> str:
    _need(isinstance(value, str), "a text")
    return str(value)


def _whole(value: Any) -> int:
    _need(isinstance(value, int) and not isinstance(value, bool), "a whole number")
    _need(abs(value) < 1 << 63, "a number of 64 bits")
    return int(value)


def _instant(value: Any) -> datetime:
    instant = datetime.fromisoformat(_text(value))
    _need(instant.tzinfo is not None, "a time zone")
    return instant
