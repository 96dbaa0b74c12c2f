"""The verbs that change a store: JSON-able arguments in, JSON-able facts out.

Control's socket, the command line and later the console perform the same ones on the one writer. A verb says what
changed and what clients get now. Runs on the writer's thread; knows no sockets and prints nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import yaml

from certstore.control.protocol import Fault, RequestFailed, unpack_bytes, unpack_files
from certstore.files.clock import utc_now
from certstore.model.certificate.contents import DroppedFile
from certstore.model.certificate.findings import Finding
from certstore.model.names import is_site_key
from certstore.model.record import Outcome
from certstore.model.selection import select
from certstore.model.settings.loading import SettingsError, parse_site
from certstore.model.settings.models import SiteSettings
from certstore.model.text import listed
from certstore.store.activation import IntakeResult
from certstore.store.writer import InvalidSite, NotWritable, StoreWriter, UnknownSite, UnknownVersion

Tell = Callable[[str], None]
Command = Callable[["Arguments", StoreWriter, Tell], dict[str, Any]]

UPLOAD = "upload"
"""The source of what a person handed in, as it stands in records."""


def perform(
    writer: StoreWriter, command: str, args: Mapping[str, Any], tell: Tell = lambda message: None
) -> dict[str, Any]:
    """Perform one verb; `tell` takes progress of long ones. Raises VerbFailed, and OSError where the disk says no."""
    act = VERBS.get(command)
    if act is None:
        raise RequestFailed(Fault.BAD_REQUEST, f"there is no verb {command!r:.60}; there are: {', '.join(VERBS)}")
    arguments = Arguments(args)
    try:
        return act(arguments, writer, tell)
    except UnknownSite:
        found = f"there is no site {arguments.text('site')}"
        raise RequestFailed(Fault.NOT_FOUND, found, "see: certedge site list, certedge site add") from None
    except UnknownVersion as error:
        remedy = f"see: certedge cert history {arguments.text('site')}"
        raise RequestFailed(Fault.NOT_FOUND, str(error), remedy) from None
    except InvalidSite as error:
        raise RequestFailed(Fault.INVALID, str(error)) from None
    except NotWritable as error:
        raise RequestFailed(Fault.STORAGE, str(error)) from None


class Arguments:
    """Typed access to what a client sent; anything else is a failure that names the key, not the value."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def site(self) -> str:
        site = self.text("site")
        if not is_site_key(site):
            allowed = "a key is a host name in lower case (xn-- form), or letters a-z, digits and hyphens"
            raise RequestFailed(Fault.INVALID, f"{site!r:.100} can be no site's key", allowed)
        return site

    def text(self, key: str) -> str:
        return self._typed(key, str)

    def flag(self, key: str) -> bool:
        return self._typed(key, bool) if key in self._values else False

    def number_or_none(self, key: str) -> int | None:
        return self._typed(key, int) if self._values.get(key) is not None else None

    def texts(self, key: str) -> list[str]:
        values = self._typed(key, list) if key in self._values else []
        if not all(isinstance(value, str) for value in values):
            raise RequestFailed(Fault.BAD_REQUEST, f"`{key}` has to be a list of texts")
        return values

    def mapping(self, key: str) -> dict[str, Any]:
        return self._typed(key, dict) if key in self._values else {}

    def files(self) -> list[DroppedFile]:
        return [DroppedFile(name, content) for name, content in unpack_files(self._values.get("files"))]

    def password(self) -> bytes | None:
        return unpack_bytes(self.text("password")) if self._values.get("password") is not None else None

    def _typed[T](self, key: str, kind: type[T]) -> T:
        value = self._values.get(key)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise RequestFailed(Fault.BAD_REQUEST, f"`{key}` has to be a {kind.__name__}")
        return value


def _install(arguments: Arguments, writer: StoreWriter, tell: Tell) -> dict[str, Any]:
    """A refused certificate is a result, not a failure: its findings are facts."""
    site = arguments.site()
    files, password, force = arguments.files(), arguments.password(), arguments.flag("force")
    _discover(writer, site)
    return intake_facts(writer, writer.take_in(site, files, source=UPLOAD, password=password, force=force))


def _rollback(arguments: Arguments, writer: StoreWriter, tell: Tell) -> dict[str, Any]:
    result = writer.rollback(arguments.site(), arguments.number_or_none("version"))
    return intake_facts(writer, result)


def _add_site(arguments: Arguments, writer: StoreWriter, tell: Tell) -> dict[str, Any]:
    site, settings = arguments.site(), arguments.mapping("settings")
    if site in writer.sites():
        raise RequestFailed(
            Fault.EXISTS, f"there is a site {site} already", f"change it with: certedge site set {site}"
        )
    writer.add_site(site, _parsed(settings))
    # What was dropped before the site was declared is taken in at once.
    writer.check(site)
    return _site_facts(writer, site, f"site {site} added: {listed(writer.site(site).names)}")


def _set_site(arguments: Arguments, writer: StoreWriter, tell: Tell) -> dict[str, Any]:
    site, changes = arguments.site(), arguments.mapping("changes")
    _discover(writer, site)
    changes |= dict.fromkeys(arguments.texts("unset"))
    added, removed = arguments.texts("add_names"), arguments.texts("remove_names")
    if added or removed:
        settings = writer.settings(site)
        names = changes.get("additional_names") or list(settings.additional_names if settings else ())
        if missing := [name for name in removed if name not in names]:
            raise RequestFailed(Fault.INVALID, f"{missing[0]} is none of the site's additional names: {listed(names)}")
        changes["additional_names"] = [*(name for name in names if name not in removed), *added]
    before = writer.site(site)
    _parsed(_current(writer, site) | changes)
    writer.set_site(site, changes)
    writer.check(site)
    after = writer.site(site)
    return _site_facts(writer, site, _difference(site, before.names, after.names, list(changes)))


def _remove_site(arguments: Arguments, writer: StoreWriter, tell: Tell) -> dict[str, Any]:
    site = arguments.site()
    _discover(writer, site)
    host = writer.site(site).host
    writer.remove_site(site)
    message = f"site {site} removed; its versions stay in the archive"
    return {"site": site, "message": message, "served": _served(writer, host)}


VERBS: dict[str, Command] = {
    "cert.install": _install,
    "cert.rollback": _rollback,
    "site.add": _add_site,
    "site.set": _set_site,
    "site.remove": _remove_site,
}


def _discover(writer: StoreWriter, site: str) -> None:
    """A folder that was made a moment ago may not have been looked at yet."""
    if site not in writer.sites():
        writer.check(site)


def _current(writer: StoreWriter, site: str) -> dict[str, Any]:
    """What the site's site.yaml says; of a bare site, what its first one has to say."""
    settings = writer.settings(site)
    if settings is None:
        return {"host": writer.site(site).host}
    return settings.model_dump(mode="json", exclude_defaults=True)


def _parsed(settings: Mapping[str, Any]) -> SiteSettings:
    """Settings as a site.yaml would have given them, with the same messages; a key without a value does not count."""
    given = {key: value for key, value in settings.items() if value is not None}
    try:
        return parse_site(yaml.safe_dump(given), "site.yaml")
    except SettingsError as error:
        raise invalid_settings(error) from None


def invalid_settings(error: SettingsError) -> RequestFailed:
    """The faults without file and line: these settings come from options, not from a file."""
    faults = [
        f"{fault.key or 'settings'}: {fault.found}" + (f"; allowed: {fault.allowed}" if fault.allowed else "")
        for fault in error.faults
    ]
    return RequestFailed(Fault.INVALID, "\n".join(faults))


def intake_facts(writer: StoreWriter, result: IntakeResult) -> dict[str, Any]:
    """What every verb says that brought a certificate in, or tried to."""
    is_taken = result.outcome in (Outcome.DONE, Outcome.NOTED)
    return {
        "site": result.site,
        "outcome": result.outcome.value,
        "reason": result.reason,
        "version": result.version,
        "fingerprint": result.fingerprint,
        "message": result.message,
        "findings": [] if is_taken else [_finding(each) for each in result.findings],
        "problems": [_finding(each) for each in result.findings] if is_taken else [],
        "served": _served(writer, writer.site(result.site).host),
    }


def _site_facts(writer: StoreWriter, site: str, message: str) -> dict[str, Any]:
    entry = writer.site(site)
    return {
        "site": site,
        "host": entry.host,
        "names": list(entry.names),
        "source": entry.source.value,
        "message": message,
        "problems": [_finding(each) for each in writer.problems(site)],
        "served": _served(writer, entry.host),
    }


def _difference(site: str, before: tuple[str, ...], after: tuple[str, ...], changed: list[str]) -> str:
    gained = [name for name in after if name not in before]
    lost = [name for name in before if name not in after]
    parts = [f"site {site} changed: {', '.join(changed)}"]
    parts += [f"new names: {listed(gained)}"] if gained else []
    parts += [f"names gone: {listed(lost)}"] if lost else []
    return "; ".join(parts)


def _served(writer: StoreWriter, host: str) -> dict[str, Any]:
    """What a client that asks for `host` over https gets from now on."""
    selection = select(writer.snapshot(), host, is_mail=False, now=utc_now())
    return {
        "server_name": host,
        "certificate": selection.certificate.site,
        "version": selection.certificate.version,
        "fingerprint": selection.certificate.fingerprint,
        "reason": selection.reason.value,
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {"code": finding.code, "message": finding.message, "is_forcible": finding.is_forcible}
