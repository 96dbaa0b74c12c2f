"""`certedge cert …`: certificates that you install, the versions of a site, and copies for other hosts.

Files are read here, as the user who runs the command; only their bytes go to the process that writes the store.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from certstore.cli.asking import ask, known_sites, show_change
from certstore.cli.completion import SiteKey
from certstore.cli.context import AsJson, Config, Edge, argument, check_site_key, group, open_edge, option
from certstore.cli.failure import CommandFailed, Exit
from certstore.cli.lazy import reader, requests, results, status
from certstore.cli.output import BAD, GOOD, WARNING, Cell, print_json, print_lines, print_table, remaining, short, utc
from certstore.files.clock import utc_now
from certstore.model.certificate.dropped_file import DroppedFile
from certstore.model.certificate.pem import FILE_LIMIT
from certstore.model.did_you_mean import site_advice
from certstore.model.record import Record
from certstore.model.text import first_line

app = group("Install certificates and manage their versions.", "certedge cert history webmail.example.com")

_PASSWORD_LIMIT = 4096
_SHOWN_ATTEMPTS = 10
_OUTCOME_STYLES = {"refused": BAD, "failed": BAD, "noted": WARNING, "done": GOOD}


def _file_option(name: str, what: str) -> Any:
    return option(name, "FILE", what, readable=False, allow_dash=True)


@app.command(
    epilog="Example: certedge cert install webmail.example.com --fullchain fullchain.pem --privkey privkey.pem"
)
def install(
    site: SiteKey,
    fullchain: Annotated[Path | None, _file_option("--fullchain", "Certificate and chain in PEM.")] = None,
    privkey: Annotated[Path | None, _file_option("--privkey", "The private key in PEM.")] = None,
    pem: Annotated[Path | None, _file_option("--pem", "Key, certificate and chain in one file.")] = None,
    p12: Annotated[Path | None, _file_option("--p12", "A PKCS#12 file (.p12, .pfx).")] = None,
    password_file: Annotated[
        Path | None,
        _file_option("--password-file", "File whose first line is the password of the .p12 or the key; - reads stdin."),
    ] = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Accept a certificate that has expired, lacks the site's names, or that some clients refuse.",
        ),
    ] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Check a certificate and its key and make it the site's next version. A running service serves it at once."""
    attempted = f"install a certificate for {site}"
    paths = _given_files(fullchain, privkey, pem, p12, attempted)
    check_site_key(site, attempted)
    edge = open_edge(config)
    files = tuple(DroppedFile(path.name, _read(path, FILE_LIMIT, attempted)) for path in paths)
    password = _read_password(password_file, attempted) if password_file is not None else None
    result = ask(edge, requests.InstallRequest(site, files, password, force), attempted)
    if not result.is_accepted:
        _show_refusal(result, attempted, as_json=as_json)
    show_change(edge, result, as_json=as_json)


@app.command(epilog="Example: certedge cert history webmail.example.com")
def history(site: SiteKey, config: Config = None, as_json: AsJson = False) -> None:
    """List the site's versions, the live one marked, and the last attempts."""
    store = reader.Store(edge_with_site(site, config, f"read the history of {site}").layout)
    versions, attempts = status.history(store, site), store.records(site)[::-1]
    if as_json:
        known = [each.to_json() for each in versions]
        print_json({"site": site, "versions": known, "attempts": [record.to_json() for record in attempts]})
    else:
        _show_history(site, versions, attempts)


@app.command(epilog="Example: certedge cert rollback webmail.example.com 3")
def rollback(
    site: SiteKey,
    version: Annotated[
        int | None, argument("VERSION", "The version to go back to (default: the one that was live before).", min=1)
    ] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Make an earlier version live again."""
    attempted = f"roll {site} back" + (f" to version {version}" if version is not None else "")
    check_site_key(site, attempted)
    edge = open_edge(config)
    show_change(edge, ask(edge, requests.RollbackRequest(site, version), attempted), as_json=as_json)


@app.command(
    epilog="Example: certedge cert export main /srv/export/main && "
    "rsync -aL --delay-updates --exclude='.*' /srv/export/main/ mx2:/etc/mail/tls/"
)
def export(
    site: SiteKey,
    folder: Annotated[Path, argument("DIR", "A folder for this site only.")],
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Copy the live files of a site to DIR for other daemons, atomically and only if they have changed."""
    from certstore.cli.export import ExportRefused, export_live

    attempted = f"export the certificate of {site} to {folder}"
    edge = edge_with_site(site, config, attempted)
    try:
        done = export_live(edge.layout, site, folder)
    except ExportRefused as refused:
        remedy = "a site without its own certificate uses the main one: certedge cert export main DIR"
        if folder.exists():
            remedy = f"choose an empty folder, or see: certedge cert history {site}"
        raise CommandFailed(attempted, str(refused), remedy) from None
    facts = {
        "site": site,
        "version": done.version.number,
        "fingerprint": done.version.fingerprint,
        "changed": done.changed,
        "files": [str(folder / name) for name in done.files],
    }
    if as_json:
        print_json(facts)
    elif done.changed:
        print_lines(Cell(f"{folder}: version {done.version.number} of {site}: {', '.join(done.files)}", GOOD))
    else:
        print_lines(f"{folder} already holds version {done.version.number} of {site}")


def _given_files(
    fullchain: Path | None, privkey: Path | None, pem: Path | None, p12: Path | None, attempted: str
) -> list[Path]:
    """The files of exactly one of the three ways to give a certificate."""
    ways = [[fullchain, privkey], [pem], [p12]]
    used = [way for way in ways if any(way)]
    if len(used) != 1 or not all(used[0]):
        allowed = "give --fullchain FILE with --privkey FILE, or --pem FILE, or --p12 FILE --password-file FILE"
        raise CommandFailed(attempted, "these options do not say which files to install", allowed, Exit.USAGE)
    return [path for path in used[0] if path is not None]


def _read(path: Path, limit: int, attempted: str) -> bytes:
    """The content of a file. A failure names no more than its path and size."""
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        remedies = {
            errno.ENOENT: f"check the name; a relative one counts from {Path.cwd()}",
            errno.EACCES: "run the command as a user that may read the file, such as root",
            errno.EISDIR: "name the file, not its folder",
        }
        remedy = remedies.get(error.errno or 0, "copy the file to a place where it can be read")
        raise CommandFailed(attempted, f"{path}: {error.strerror}", remedy) from None
    if len(content) > limit:
        raise CommandFailed(attempted, f"{path} is larger than {limit} bytes", "check that it is the right file")
    return content


def _read_password(path: Path, attempted: str) -> bytes:
    """The first line, without the line break."""
    if str(path) == "-":
        content = sys.stdin.buffer.read(_PASSWORD_LIMIT)
    else:
        content = _read(path, _PASSWORD_LIMIT, attempted)
    return first_line(content)


def _show_refusal(result: results.InstallResult, attempted: str, *, as_json: bool) -> None:
    """Raises CommandFailed with every reason, and a hint at --force if you may overrule all of them."""
    if as_json:
        print_json(result.to_json())
    found = "\n".join(finding.message for finding in result.findings) or result.message
    remedy = "nothing has changed; clients get the same certificate as before"
    if result.findings and all(finding.is_forcible for finding in result.findings):
        remedy += ". To install it anyway: --force"
    raise CommandFailed(attempted, found, remedy)


def edge_with_site(site: str, config: Path | None, attempted: str) -> Edge:
    """For commands that only read: something about the site must be in the store."""
    check_site_key(site, attempted)
    edge = open_edge(config)
    layout = edge.layout
    try:
        os.scandir(layout.archive).close()  # PermissionError for other users, to whom everything would seem absent
    except FileNotFoundError:
        found = f"the store {layout.root} is new: the service has not read it yet"
        raise CommandFailed(attempted, found, "start the service: certedge run") from None
    if not any(os.path.lexists(path) for path in (layout.versions(site), layout.live(site), layout.records(site))):
        found = f"there is no site {site}, or it never had a certificate or an attempt"
        raise CommandFailed(attempted, found, site_advice(site, known_sites(edge)))
    return edge


def _show_history(site: str, versions: Sequence[status.VersionFacts], attempts: Sequence[Record]) -> None:
    if versions:
        print_table(
            ("version", "", "made", "from", "valid until", "fingerprint", "names"),
            [_version_row(each) for each in versions],
            gives_way=("from", "fingerprint", "made", "valid until", "from", "made"),
            wraps=("names",),
        )
    else:
        print_lines(f"{site} has no versions: clients get the main certificate")
    if attempts:
        rows = [
            (_when(each.at), each.doing, Cell(each.outcome.value, _OUTCOME_STYLES[each.outcome.value]), each.message)
            for each in attempts[:_SHOWN_ATTEMPTS]
        ]
        print_lines("", "last attempts, newest first:")
        print_table(("when", "doing", "outcome", "what"), rows, gives_way=("when", "doing"), wraps=("what",))


def _when(instant: datetime) -> Cell:
    return Cell(utc(instant), short=utc(instant).removesuffix(" UTC"))


def _state_cell(facts: status.VersionFacts) -> Cell:
    if facts.revocation is not None:
        return Cell("live, revoked" if facts.is_live else "revoked", BAD)
    return Cell("live", GOOD) if facts.is_live else Cell("")


def _version_row(facts: status.VersionFacts) -> tuple[str | Cell, ...]:
    version = facts.version
    day, left = f"{version.not_after:%Y-%m-%d}", remaining(version.not_after, utc_now())
    return (
        str(version.number),
        _state_cell(facts),
        _when(version.made_at),
        # A path is that of one of the site's drop places.
        Cell(version.source, short="drop" if version.source.startswith("/") else ""),
        Cell(f"{day} ({left})", BAD if left == "expired" else "", short=day),
        short(version.fingerprint),
        " ".join(version.dns_names),
    )
