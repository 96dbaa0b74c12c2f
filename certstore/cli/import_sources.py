"""Reads the sites, certificates and CA accounts of another program: certbot, acme.sh or BlueMind.

Only reads: nothing changes at the source or in the store. What can't be imported is listed in `notes` and stops nothing
else.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from josepy.jwk import JWK, JWKEC, JWKRSA

from certstore.cli.import_dns import DnsOrigin, acme_sh_origin, certbot_origin, unproven
from certstore.files.clock import utc_now
from certstore.model.certificate.contents import read_contents
from certstore.model.certificate.dropped_file import DroppedFile
from certstore.model.certificate.pem import FILE_LIMIT
from certstore.model.certificate.x509_facts import CertificateFacts
from certstore.model.certificate.x509_names import attribute_texts
from certstore.model.challenge import ChallengeType
from certstore.model.names import is_host_name
from certstore.model.settings.dns import DnsSettings
from certstore.model.settings.models import Source
from certstore.model.snapshot import MAIN
from certstore.model.text import listed, written_text

_LETS_ENCRYPT = "Let's Encrypt"
_ORGANISATION = "2.5.4.10"


@dataclass(frozen=True, slots=True)
class FoundSite:
    """`site` is `main` or the host. `files` are checked on import as any upload; `path` is where they were found, and
    `leaf` the certificate in them. `dns` says how its names were proven over DNS, `challenges` how they are to be from
    now on, as far as the site has a choice of its own.
    """

    site: str
    host: str
    additional_names: tuple[str, ...]
    certificate: Source
    files: tuple[DroppedFile, ...]
    path: str
    leaf: CertificateFacts = field(repr=False)
    dns: DnsOrigin | None = None
    challenges: tuple[str, ...] = ()

    @property
    def names(self) -> set[str]:
        return {self.host, *self.additional_names}

    def and_files_of(self, other: FoundSite) -> FoundSite:
        """The EC and the RSA certificate of one host belong to one site."""
        taken = {file.name for file in self.files}
        others = (replace(file, name=f"other-{file.name}") if file.name in taken else file for file in other.files)
        files = (*self.files, *others)
        return replace(self, files=files, path=f"{self.path}, {other.path}")


@dataclass(frozen=True, slots=True)
class FoundAccount:
    directory: str
    url: str
    key_pem: bytes = field(repr=False)
    contact: tuple[str, ...]
    path: str


@dataclass(frozen=True, slots=True)
class Found:
    sites: tuple[FoundSite, ...]
    accounts: tuple[FoundAccount, ...]
    notes: tuple[str, ...]


Reader = Callable[[Path], Found]


def read_certbot(folder: Path) -> Found:
    """`/etc/letsencrypt`: live/NAME/, renewal/NAME.conf, accounts/HOST/PATH/ID/."""
    notes: list[str] = []
    sites, used = [], Counter[str]()
    for lineage in _folders(folder / "live"):
        origin = certbot_origin(folder / "renewal" / f"{lineage.name}.conf")
        site = _site(lineage, lineage.name, ("fullchain.pem", "privkey.pem"), notes, origin)
        sites += [site] if site is not None else []
        used[_setting(folder / "renewal" / f"{lineage.name}.conf", "account")] += 1
    accounts = []
    for path in sorted((folder / "accounts").glob("**/private_key.json")):
        directory = "https://" + path.parent.parent.relative_to(folder / "accounts").as_posix()
        if (account := _certbot_account(path.parent, directory, notes)) is not None:
            accounts.append((used[path.parent.name], account))
    return Found(_merged(sites, notes), _one_per_ca(accounts, notes), tuple(notes))


def read_acme_sh(folder: Path) -> Found:
    """`~/.acme.sh`: DOMAIN/ and DOMAIN_ecc/, ca/HOST/PATH/."""
    notes: list[str] = []
    sites = []
    for each in _folders(folder):
        domain = each.name.removesuffix("_ecc")
        if (each / f"{domain}.conf").is_file():
            origin = acme_sh_origin(each / f"{domain}.conf", folder / "account.conf")
            site = _site(each, domain, ("fullchain.cer", f"{domain}.key"), notes, origin)
            sites += [site] if site is not None else []
    accounts = []
    for path in sorted((folder / "ca").glob("**/account.key")):
        relative = path.parent.relative_to(folder / "ca").as_posix()
        directory = f"https://{relative}" if "/" in relative else f"https://{relative}/directory"
        url = _setting(path.parent / "ca.conf", "ACCOUNT_URL")
        email = _setting(path.parent / "ca.conf", "CA_EMAIL")
        key = _read(path, notes)
        if not url or key is None:
            notes.append(f"{path.parent}: it has no account URL, so the account is not imported")
            continue
        accounts.append((0, FoundAccount(directory, url, key, (email,) if email else (), str(path.parent))))
    return Found(_merged(sites, notes), _one_per_ca(accounts, notes), tuple(notes))


def read_bluemind(folder: Path) -> Found:
    """`/etc/ssl/certs`: bm_cert.pem is the main certificate, bm_cert-DOMAINUID.pem a domain's."""
    notes: list[str] = []
    sites = []
    for path in sorted(folder.glob("bm_cert*.pem")):
        if path.name == "bm_cert.pem":
            found = _from_files(path, "", [path], notes)
            sites += [replace(found, site=MAIN)] if found is not None else []
        elif path.name.startswith("bm_cert-"):
            found = _from_files(path, path.stem.removeprefix("bm_cert-"), [path], notes)
            sites += [found] if found is not None else []
    if not sites:
        notes.append(f"{folder}: there is no bm_cert.pem and no bm_cert-DOMAIN.pem")
    return Found(_merged(sites, notes), (), tuple(notes))


READERS: dict[str, Reader] = {"certbot": read_certbot, "acme.sh": read_acme_sh, "bluemind": read_bluemind}


def with_challenges(found: Found, dns: DnsSettings | None) -> Found:
    """Sites whose names were proven over DNS, as `dns` (`acme.dns`) allows it here: proven the same way, or with a note
    that says what is missing. A wildcard can't be ordered then, so its certificate stays a file."""
    sites, notes = [], list(found.notes)
    for each in found.sites:
        if each.dns is None:
            sites.append(each)
            continue
        missing = unproven((each.host, *each.additional_names), dns)
        if not missing:
            sites.append(replace(each, certificate=Source.ACME, challenges=(ChallengeType.DNS_01,)))
            continue
        is_file = any(name.startswith("*.") for name in each.names)
        sites.append(replace(each, certificate=Source.FILE) if is_file else each)
        notes.append(f"{each.path}: {_missing_way(each, missing, is_file=is_file)}")
    return Found(tuple(sites), found.accounts, tuple(notes))


def _missing_way(site: FoundSite, missing: Sequence[str], *, is_file: bool) -> str:
    origin = site.dns
    assert origin is not None, "only of sites that were proven over DNS"  # noqa: S101
    way = origin.suggestion or "exec with a program of yours, as no other way is known for this plugin"
    then = f"certedge site set {site.site} --certificate acme --challenge dns-01"
    until = "until then the certificate stays a file" if is_file else "until then the names are proven in another way"
    return (
        f"{origin.plugin} proved its names by dns-01, and acme.dns in edge.yaml has no way for "
        f"{listed(list(missing))}; {until}. Set in acme.dns: {way}. Then run: {then}"
    )


def _site(
    folder: Path, name: str, files: Sequence[str], notes: list[str], dns: DnsOrigin | None = None
) -> FoundSite | None:
    found = _from_files(folder, name, [folder / each for each in files], notes, dns)
    return replace(found, dns=dns) if found is not None else None


def _from_files(
    place: Path, name: str, paths: Sequence[Path], notes: list[str], dns: DnsOrigin | None = None
) -> FoundSite | None:
    """The site for a certificate, or a note: whatever is wrong with one file never ends an import."""
    try:
        contents = [(path.name, _read(path, notes)) for path in paths]
        files = tuple(DroppedFile(each, content) for each, content in contents if content is not None)
        return _from_contents(place, name, files, notes, dns) if len(files) == len(paths) else None
    except Exception as error:  # noqa: BLE001
        notes.append(f"{place}: it can't be read and is not imported ({type(error).__name__})")
        return None


def _from_contents(
    place: Path, name: str, files: tuple[DroppedFile, ...], notes: list[str], dns: DnsOrigin | None
) -> FoundSite | None:
    """From the names in the certificate; `name` becomes the host if the certificate contains it."""
    leaf = _leaf(files)
    if leaf is None:
        notes.append(f"{place}: there is no readable certificate")
        return None
    hosts = [each for each in leaf.dns_names if is_host_name(each)]
    wanted = re.sub(r"-\d{4}$", "", name)  # certbot's suffix of a second lineage
    if not hosts:
        names = listed((*leaf.dns_names, *leaf.other_names)) or "it has no names"
        notes.append(f"{place}: the certificate names no host ({names}); add the site yourself")
        return None
    if leaf.other_names:
        names = listed(leaf.other_names)
        notes.append(
            f"{place}: {names} can't be a name of a site (only letters, digits and hyphens), so it is left out"
        )
    host = wanted if wanted in hosts else hosts[0]
    wildcards = [each for each in leaf.dns_names if each.startswith("*.")]
    if wildcards and dns is None:
        notes.append(
            f"{place}: {wildcards[0]} can only be ordered by dns-01, and nothing says how it was; the site's "
            "certificate stays a file"
        )
    is_ordered = not wildcards and (place.is_dir() or _is_by_lets_encrypt(leaf))
    additional = tuple(each for each in leaf.dns_names if each != host)
    return FoundSite(host, host, additional, Source.ACME if is_ordered else Source.FILE, files, str(place), leaf)


def _leaf(files: tuple[DroppedFile, ...]) -> CertificateFacts | None:
    """The certificate of the key among the files; without a key that can be read, the first one."""
    contents = read_contents(files, None)
    of_key = [each for each in contents.certificates if each.spki in contents.keys]
    return next(iter((*of_key, *contents.certificates)), None)


def _is_by_lets_encrypt(leaf: CertificateFacts) -> bool:
    """A lone file does not say whether it was ordered by ACME; its issuer does."""
    return any(_LETS_ENCRYPT in each for each in attribute_texts(leaf.fields.issuer, _ORGANISATION))


def _certbot_account(folder: Path, directory: str, notes: list[str]) -> FoundAccount | None:
    try:
        key = JWK.json_loads(written_text((folder / "private_key.json").read_bytes()))
        facts = json.loads(written_text((folder / "regr.json").read_bytes()))
        url = facts["uri"]
        contact = tuple(each.removeprefix("mailto:") for each in facts.get("body", {}).get("contact") or ())
        if not isinstance(key, (JWKRSA, JWKEC)) or not isinstance(url, str):
            raise ValueError("neither an RSA nor an EC key")  # noqa: TRY004  the content is wrong, not a caller
        # The library wraps its keys to make them comparable; the key itself is inside.
        pem = key.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    except OSError as error:
        notes.append(f"{folder}: {error.strerror}")
        return None
    except Exception as error:  # noqa: BLE001
        notes.append(f"{folder}: the account can't be read and is not imported ({type(error).__name__})")
        return None
    return FoundAccount(directory, url, pem, contact, str(folder))


def _one_per_ca(found: Sequence[tuple[int, FoundAccount]], notes: list[str]) -> tuple[FoundAccount, ...]:
    """Of several accounts at one CA, the one that ordered the most certificates."""
    chosen: dict[str, FoundAccount] = {}
    for _, account in sorted(found, key=lambda each: -each[0]):
        if account.directory in chosen:
            notes.append(
                f"{account.path}: another account at this CA ordered more certificates, so this one is not imported"
            )
        else:
            chosen[account.directory] = account
    return tuple(chosen.values())


def _merged(sites: Sequence[FoundSite], notes: list[str]) -> tuple[FoundSite, ...]:
    """One per site: the certificate that is in use, and beside it one of the other kind of key with the same names.

    certbot leaves NAME behind when it makes NAME-0001, with names that may be gone since: ordering those would fail.
    """
    now = utc_now()
    in_order = sorted(sites, key=lambda each: (each.leaf.not_after > now, each.leaf.not_before), reverse=True)
    chosen: dict[str, FoundSite] = {}
    for each in in_order:
        known = chosen.get(each.site) or _successor(each, chosen.values())
        if known is None:
            chosen[each.site] = each
        elif _is_companion(each, known):
            chosen[known.site] = known.and_files_of(each)
        else:
            left = sorted(each.names - known.names)
            also = f", nor are its names {listed(left)}: add what is still in use" if left else ""
            notes.append(f"{each.path}: it is superseded by {known.path} and not imported{also}")
    order = dict.fromkeys(each.site for each in sites)
    return tuple(chosen[site] for site in order if site in chosen)


def _successor(site: FoundSite, chosen: Iterable[FoundSite]) -> FoundSite | None:
    """For a certificate that has expired, a valid one for one of its names."""
    if site.leaf.not_after > utc_now():
        return None
    return next((each for each in chosen if each.leaf.not_after > utc_now() and each.names & site.names), None)


def _is_companion(site: FoundSite, known: FoundSite) -> bool:
    kinds = {site.leaf.key_kind, known.leaf.key_kind}
    return kinds == {"ec", "rsa"} and site.names == known.names and site.leaf.not_after > utc_now()


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir())


def _setting(path: Path, key: str) -> str:
    """`key = value` or `key='value'`; empty if the file does not have it."""
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError:
        return ""
    found = re.search(rf"^\s*{re.escape(key)}\s*=\s*(['\"]?)(.*?)\1\s*$", text, re.MULTILINE)
    return found[2] if found else ""


def _read(path: Path, notes: list[str]) -> bytes | None:
    try:
        with path.open("rb") as file:
            content = file.read(FILE_LIMIT + 1)
    except OSError as error:
        notes.append(f"{path}: {error.strerror}")
        return None
    if len(content) > FILE_LIMIT:
        notes.append(f"{path}: larger than {FILE_LIMIT} bytes")
        return None
    return content
