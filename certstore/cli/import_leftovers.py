"""What `certedge import` does not take over, in words: key types, key reuse, hooks, and other settings of a lineage.

Reads the other program's settings files and runs nothing. A file that can't be read says nothing here: the reader of
the sites reports it.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from certstore.cli.import_sources import Found, FoundSite
from certstore.model.certificate.contents import read_contents
from certstore.model.settings.models import Source
from certstore.model.text import shown, written_text

_LIMIT = 1 << 20
_SETTING = re.compile(r"^[ \t]*([A-Za-z_][\w-]*)[ \t]*=[ \t]*(['\"]?)(.*?)\2[ \t\r]*$", re.MULTILINE | re.ASCII)
_OFF = frozenset({"", "0", "no", "none", "false"})
_HOOKS = "certedge runs no commands; programs can watch store/stamps/SITE (certedge docs systemd has units that do)"

# What a setting is, and what to do about it. Where the remedy has {site}, it is the key of the site.
_CERTBOT = {
    "pre_hook": ("the hook before an order", _HOOKS),
    "post_hook": ("the hook after an order", _HOOKS),
    "renew_hook": ("the hook after a renewal", _HOOKS),
    "deploy_hook": ("the hook after a renewal", _HOOKS),
    "manual_auth_hook": ("the hook that proves names", "certedge proves them itself"),
    "installer": ("the program that installs certificates", _HOOKS),
    "must_staple": ("must-staple", "certedge orders without it"),
    "preferred_chain": ("the preferred chain", "set acme.preferred_chain in edge.yaml, for all sites"),
    "preferred_profile": ("the CA's profile", "certedge site set {site} --profile PROFILE"),
    "required_profile": ("the CA's profile", "certedge site set {site} --profile PROFILE"),
    "renew_before_expiry": ("the time of renewal", "certedge renews when the CA suggests, or in the last third"),
}
_ACME_SH = {
    "Le_PreHook": ("the hook before an order", _HOOKS),
    "Le_PostHook": ("the hook after an order", _HOOKS),
    "Le_RenewHook": ("the hook after a renewal", _HOOKS),
    "Le_ReloadCmd": ("the command after a renewal", _HOOKS),
    "Le_DeployHook": ("the deploy hook", _HOOKS),
    "Le_OCSP_Staple": ("must-staple", "certedge orders without it"),
    "Le_Preferred_Chain": ("the preferred chain", "set acme.preferred_chain in edge.yaml, for all sites"),
    "Le_Certificate_Profile": ("the CA's profile", "certedge site set {site} --profile PROFILE"),
}
_KEY_REUSE = "certedge site set {site} --reuse-key keeps the next key, for TLSA records of the form 3 1 1"


@dataclass(frozen=True, slots=True)
class Leftover:
    """Something that stays behind. `site` empty: it concerns all sites of this program."""

    site: str
    what: str
    remedy: str

    @property
    def message(self) -> str:
        return f"{self.site or 'all sites'}: {self.what} is not taken over ({self.remedy})"


def leftovers(program: str, folder: Path, found: Found, keys: Mapping[str, str], key_type: str) -> tuple[Leftover, ...]:
    """`keys` has the key here of each site that is taken over, by its place (`FoundSite.path`); `key_type` is what this
    edge orders by default.
    """
    taken = [(keys[each.path], each) for each in found.sites if each.path in keys]
    facts = [each for key, site in taken for each in _of_site(program, folder, key, site, key_type)]
    return tuple(dict.fromkeys((*facts, *_of_program(program, folder))))


def _of_site(program: str, folder: Path, key: str, site: FoundSite, key_type: str) -> Iterator[Leftover]:
    kind = "+".join(dict.fromkeys(_key_types(site)))
    if site.certificate is Source.ACME and kind and kind != key_type:
        remedy = f"renewals get {key_type}: certedge site set {key} --key-type TYPE"
        yield Leftover(key, f"the key type {kind}", remedy)
    for place in map(Path, site.path.split(", ")):
        if program == "certbot":
            settings = _settings(folder / "renewal" / f"{place.name}.conf")
            known, reuses = _CERTBOT, settings.get("reuse_key", "").lower() not in _OFF
        elif program == "acme.sh":
            settings = _settings(place / f"{place.name.removesuffix('_ecc')}.conf")
            # acme.sh keeps the key unless it was told otherwise.
            known, reuses = _ACME_SH, settings.get("Le_ForceNewDomainKey", "").lower() in _OFF
        else:
            return
        if reuses:
            yield Leftover(key, "key reuse: the same key after each renewal", _KEY_REUSE.format(site=key))
        yield from _known(key, known, settings)


def _of_program(program: str, folder: Path) -> Iterator[Leftover]:
    if program == "certbot":
        yield from _known("", _CERTBOT, _settings(folder / "cli.ini"))
        for kind in ("pre", "deploy", "post"):
            for path in _programs(folder / "renewal-hooks" / kind):
                yield Leftover("", f"the {kind} hook {shown(str(path))}", _HOOKS)
    if program == "acme.sh":
        notify = _settings(folder / "account.conf").get("NOTIFY_HOOK", "")
        if notify:
            yield Leftover("", f"the notification hook {shown(notify)}", "certedge warns by mail and webhook: `notify`")


def _known(key: str, table: Mapping[str, tuple[str, str]], settings: Mapping[str, str]) -> Iterator[Leftover]:
    for name, (what, remedy) in table.items():
        value = _readable(settings.get(name, ""))
        if value.lower() not in _OFF:
            yield Leftover(key, f"{what} ({name} = {shown(value)})", remedy.format(site=key or "SITE"))


def _readable(value: str) -> str:
    """acme.sh stores commands in base64, between marks of its own."""
    wrapped = re.fullmatch(r"__ACME_BASE64__START_(.*)__ACME_BASE64__END_", value)
    if wrapped is None:
        return value
    try:
        return base64.b64decode(wrapped[1], validate=True).decode(errors="replace")
    except (binascii.Error, ValueError):
        return value


def _key_types(site: FoundSite) -> Iterable[str]:
    """In the words of `key_type`, EC first."""
    contents = read_contents(site.files, None)
    leaves = [each for each in contents.certificates if each.spki in contents.keys]
    return sorted(f"{each.key_kind}{each.key_bits}" for each in leaves)


def _settings(path: Path) -> dict[str, str]:
    """The last value of each key of a `key = value` file."""
    try:
        with path.open("rb") as file:
            text = written_text(file.read(_LIMIT))
    except (OSError, UnicodeError):
        return {}
    return {found[1]: found[3] for found in _SETTING.finditer(text)}


def _programs(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_file() and not path.name.endswith("~"))
    except OSError:
        return []
