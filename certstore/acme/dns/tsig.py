"""Reads the file of a TSIG key: the bare secret in base64, or a key as BIND's tsig-keygen, Knot's keymgr or
certbot's dns-rfc2136 have it.

Messages never show what is in the file.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from pathlib import Path

import dns.exception
import dns.name
import dns.tsig

from certstore.acme.dns.credentials import read_credentials_text
from certstore.acme.dns.zone_writer import CannotWrite
from certstore.model.settings.dns import Rfc2136Settings

_BIND_KEY = re.compile(r'\bkey\s+"?([^"\s{]+)"?\s*\{(.*?)\}', re.DOTALL)
_BIND_FIELD = re.compile(r'\b(algorithm|secret)\s+"?([^";\s]+)"?\s*;')
_KNOT_FIELD = re.compile(r"^[\s-]*(id|algorithm|secret)\s*:\s*[\"']?([^\"'\s]+)[\"']?\s*$", re.MULTILINE)
_CERTBOT_FIELD = re.compile(r"^\s*dns_rfc2136_(name|algorithm|secret)\s*=\s*(\S+)\s*$", re.MULTILINE)
USUAL_ALGORITHM = "hmac-sha256"
_ALGORITHMS = {
    "hmac-md5.sig-alg.reg.int": dns.tsig.HMAC_MD5,
    "hmac-md5": dns.tsig.HMAC_MD5,
    "hmac-sha1": dns.tsig.HMAC_SHA1,
    "hmac-sha224": dns.tsig.HMAC_SHA224,
    "hmac-sha256": dns.tsig.HMAC_SHA256,
    "hmac-sha384": dns.tsig.HMAC_SHA384,
    "hmac-sha512": dns.tsig.HMAC_SHA512,
}


@dataclass(frozen=True, slots=True)
class TsigKey:
    """`text` is the secret as the file has it, to keep it out of messages."""

    key: dns.tsig.Key = field(repr=False)
    name: str
    text: str = field(repr=False)


def read_tsig_key(path: Path, settings: Rfc2136Settings) -> TsigKey:
    """The settings take precedence over name and algorithm in the file. Raises CannotWrite."""
    found = _fields(read_credentials_text(path, "tsig_secret_file"))
    name, algorithm = settings.tsig_name or found.get("name"), settings.tsig_algorithm or found.get("algorithm")
    if name is None:
        raise _unusable(f"{path} holds only a secret", "Set tsig_name to the name that the DNS server has for the key.")
    secret, known = found.get("secret", ""), _ALGORITHMS.get((algorithm or USUAL_ALGORITHM).lower().rstrip("."))
    if known is None:
        raise _unusable(f"the key in {path} has an algorithm that is not supported", "Use a key for hmac-sha256.")
    try:
        decoded = base64.b64decode(secret, validate=True)
        if not decoded:
            raise ValueError("empty")
        return TsigKey(dns.tsig.Key(dns.name.from_text(name), decoded, known), name, secret)
    except (binascii.Error, ValueError, dns.exception.DNSException):
        raise _unusable(
            f"{path} holds no TSIG key in base64", "Write the secret alone into it, or the output of tsig-keygen."
        ) from None


def _fields(text: str) -> dict[str, str]:
    """`name`, `algorithm` and `secret`, as far as the file has them."""
    if (bind := _BIND_KEY.search(text)) is not None:
        return {"name": bind[1], **dict(_BIND_FIELD.findall(bind[2]))}
    certbot = dict(_CERTBOT_FIELD.findall(text))
    if "secret" in certbot:
        return certbot
    knot = dict(_KNOT_FIELD.findall(text))
    if "secret" in knot:
        return {("name" if key == "id" else key): value for key, value in knot.items()}
    return {"secret": "".join(text.split())}


def _unusable(detail: str, remedy: str) -> CannotWrite:
    return CannotWrite(detail, remedy=remedy, needs_person=True)
