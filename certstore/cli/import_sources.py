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

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from josepy.errors import Error as JoseError
from josepy.jwk import JWK, JWKEC, JWKRSA

from certstore.model.certificate.dropped_file import DroppedFile
from certstore.model.certificate.pem import FILE_LIMIT
from certstore.model.names import is_host_name
from certstore.model.settings.models import Source
from certstore.model.snapshot import MAIN

_LETS_ENCRYPT = "Let's Encrypt"


@dataclass(frozen=True, slots=True)
class FoundSite:
    """`site` is `main` or the host. `files` are checked on import as any upload; `path` is where they were found."""

    site: str
    host: str
    additional_names: tuple[str, ...]
    certificate: Source
    files: tuple[DroppedFile, ...]
    path: str

    def and_files_of(self, other: FoundSite) -> FoundSite:
        """The EC and the RSA certificate of one host belong to one site."""
        names = tuple(dict.fromkeys((*self.additional_names, *other.additional_names)))
        taken = {file.name for file in self.files}
        others = (replace(file, name=f"other-{file.name}") if file.name in taken else file for file in other.files)
        files = (*self.files, *others)
        return replace(self, additional_names=names, files=files, path=f"{self.path}, {other.path}")


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
        site = _site(lineage, lineage.name, ("fullchain.pem", "privkey.pem"), notes)
        sites += [site] if site is not None else []
        used[_setting(folder / "renewal" / f"{lineage.name}.conf", "account")] += 1
    accounts = []
    for path in sorted((folder / "accounts").glob("**/private_key.json")):
        directory = "https://" + path.parent.parent.relative_to(folder / "accounts").as_posix()
        if (account := _certbot_account(path.parent, directory, notes)) is not None:
            accounts.append((used[path.parent.name], account))
    return Found(_merged(sites), _one_per_ca(accounts, notes), tuple(notes))


def read_acme_sh(folder: Path) -> Found:
    """`~/.acme.sh`: DOMAIN/ and DOMAIN_ecc/, ca/HOST/PATH/."""
    notes: list[str] = []
    sites = []
    for each in _folders(folder):
        domain = each.name.removesuffix("_ecc")
        if (each / f"{domain}.conf").is_file():
            site = _site(each, domain, ("fullchain.cer", f"{domain}.key"), notes)
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
    return Found(_merged(sites), _one_per_ca(accounts, notes), tuple(notes))


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
    return Found(_merged(sites), (), tuple(notes))


READERS: dict[str, Reader] = {"certbot": read_certbot, "acme.sh": read_acme_sh, "bluemind": read_bluemind}


def _site(folder: Path, name: str, files: Sequence[str], notes: list[str]) -> FoundSite | None:
    return _from_files(folder, name, [folder / each for each in files], notes)


def _from_files(place: Path, name: str, paths: Sequence[Path], notes: list[str]) -> FoundSite | None:
    """The site for a certificate, from the names in it; `name` becomes the host if the certificate contains it."""
    contents = [(path.name, _read(path, notes)) for path in paths]
    files = tuple(DroppedFile(each, content) for each, content in contents if content is not None)
    if len(files) < len(paths):
        return None
    leaf = _leaf(files)
    if leaf is None:
        notes.append(f"{place}: there is no readable certificate")
        return None
    names = _dns_names(leaf)
    hosts = [each for each in names if is_host_name(each)]
    wanted = re.sub(r"-\d{4}$", "", name)  # certbot's suffix of a second lineage
    if not hosts:
        notes.append(
            f"{place}: the certificate names no host ({', '.join(names) or 'it has no names'}); add the site yourself"
        )
        return None
    host = wanted if wanted in hosts else hosts[0]
    wildcards = [each for each in names if each.startswith("*.")]
    if wildcards:
        notes.append(f"{place}: {wildcards[0]} can't be ordered over http-01, so the site's certificate stays a file")
    is_ordered = not wildcards and (place.is_dir() or _is_by_lets_encrypt(leaf))
    additional = tuple(each for each in names if each != host and (is_host_name(each) or each.startswith("*.")))
    return FoundSite(host, host, additional, Source.ACME if is_ordered else Source.FILE, files, str(place))


def _leaf(files: Iterable[DroppedFile]) -> x509.Certificate | None:
    for file in files:
        begin = file.content.find(b"-----BEGIN CERTIFICATE-----")
        if begin >= 0:
            try:
                return x509.load_pem_x509_certificates(file.content[begin:])[0]
            except ValueError:
                return None
    return None


def _dns_names(leaf: x509.Certificate) -> list[str]:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return []
    return list(dict.fromkeys(each.lower() for each in names.get_values_for_type(x509.DNSName)))


def _is_by_lets_encrypt(leaf: x509.Certificate) -> bool:
    """A lone file does not say whether it was ordered by ACME; its issuer does."""
    return any(
        _LETS_ENCRYPT in str(each.value) for each in leaf.issuer.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    )


def _certbot_account(folder: Path, directory: str, notes: list[str]) -> FoundAccount | None:
    try:
        key = JWK.json_loads((folder / "private_key.json").read_text(encoding="utf-8"))
        facts = json.loads((folder / "regr.json").read_text(encoding="utf-8"))
        url = facts["uri"]
        contact = tuple(each.removeprefix("mailto:") for each in facts.get("body", {}).get("contact") or ())
        if not isinstance(key, (JWKRSA, JWKEC)) or not isinstance(url, str):
            raise ValueError("neither an RSA nor an EC key")  # noqa: TRY004  the content is wrong, not a caller
    except OSError as error:
        notes.append(f"{folder}: {error.strerror}")
        return None
    except (ValueError, KeyError, TypeError, AttributeError, JoseError):
        notes.append(f"{folder}: the account can't be read and is not imported")
        return None
    # The library wraps its keys to make them comparable; the key itself is inside.
    pem = key.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
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


def _merged(sites: Sequence[FoundSite]) -> tuple[FoundSite, ...]:
    by_key: dict[str, FoundSite] = {}
    for site in sites:
        known = by_key.get(site.site)
        by_key[site.site] = site if known is None else known.and_files_of(site)
    return tuple(by_key.values())


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir())


def _setting(path: Path, key: str) -> str:
    """`key = value` or `key='value'`; empty if the file does not have it."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
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
