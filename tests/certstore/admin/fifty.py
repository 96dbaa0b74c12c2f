"""Fifty sites in every state that a site can have, made as real ones are wherever that is quick."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from certstore.control.upkeep import Upkeep
from certstore.model.certificate.dropped_file import DroppedFile
from certstore.model.console.authorization import Scope
from certstore.model.console.people import Role
from certstore.model.record import Outcome, Record
from certstore.model.renewal.failure import Cause, Failure
from certstore.model.renewal.state import RenewalInfo, RenewalState, SuggestedWindow
from certstore.model.renewal.ways import NameWay
from certstore.model.settings.models import Settings, SiteSettings
from certstore.store.writer import StoreWriter
from tests.certificates import CertificateAuthority, Issued
from tests.certstore.admin.console import RunningConsole, running_console
from tests.certstore.renewal.scene import Clock
from tests.certstore.stores import check_until_decided, drop_pair

_WORDS = (
    "northwind fjord-energy castellan-law bluebay-dental orchard-foods meridian-air harbour-trust "
    "pine-and-sons alpenglow kestrel-media lumen-optics old-mill-bakery riverside-clinic quarry-works "
    "saltmarsh tamarind-travel umber-paint vesper-hotels willow-school yarrow-pharma zephyr-cycles "
    "acorn-bank birch-legal cobalt-marine delta-print ember-heating fernwood garnet-jewels heron-post "
    "ivy-gardens juniper-spirits keystone-build larch-timber magpie-shop nettle-tea opal-watches "
    "plover-press quartz-lab rowan-care sorrel-soups thistle-wool upland-farm violet-florist walnut-desk "
    "xylem-water yew-archery zinc-roofs aspen-ski bramble-jam"
)
NAMES = _WORDS.split()
ACCOUNT = "acme:letsencrypt"


@contextlib.contextmanager
def filled_console(base: Path, settings: Mapping[str, Any] | None = None) -> Iterator[RunningConsole]:
    """A running console with these sites; anna is an administrator."""
    upkeeps: list[Upkeep] = []

    def make(writer: StoreWriter, settings: Settings, base: Path) -> Upkeep:
        upkeeps.append(Upkeep(writer, settings, base))
        return upkeeps[0]

    with running_console(base / "store", settings, upkeep=make) as console:
        fill(console, upkeeps[0], CertificateAuthority("Example Trust"))
        console.add_user("anna")
        _people(console)
        yield console


def fill(console: RunningConsole, upkeep: Upkeep, ca: CertificateAuthority) -> None:
    """Main with a certificate, and the 49 others."""
    writer, clock = console.writer, console.clock
    main = ca.issue("mail.install.test", "autodiscover.install.test", not_after=clock() + timedelta(days=71))
    writer.install_files("main", [DroppedFile("all.pem", main.combined_pem)], source="upload")
    for number, name in enumerate(NAMES):
        host = f"webmail.{name}.test"
        names = tuple(f"{word}.{name}.test" for word in ("autodiscover", "caldav", "mail")[: number % 4])
        match number % 10:
            case 0 if number < 40:
                _failing(
                    upkeep,
                    writer,
                    clock,
                    host,
                    names,
                    Cause.CONNECTION,
                    f"{host}: no answer on port 80 at 203.0.113.{number + 7} (timed out)",
                    0,
                )
            case 1 if number in (1, 31):
                _add(writer, host, names, "file")
                _serve(writer, ca, clock, host, (host, *names), -3, force=True)
            case 2 if number < 30:
                _add(writer, host, names, "file")
                _serve(writer, ca, clock, host, (host, *names), 2 + number // 10)
            case 3 if number < 30:
                _add(writer, host, ("smtp." + name + ".test",), "file")
                _serve(writer, ca, clock, host, (host,), 40 + number)
            case 4 | 5 if number < 40:
                _add(writer, host, names, "main")
            case 6 if number < 30:
                _add(writer, host, names, "file")
            case 7 if number in (7, 27):
                _failing(
                    upkeep,
                    writer,
                    clock,
                    host,
                    names,
                    Cause.CAA,
                    f"{name}.test: its CAA records allow sectigo.com only",
                    21,
                )
                _serve(writer, ca, clock, host, (host, *names), 21, source=ACCOUNT)
            case _:
                _add(writer, host, names, "acme" if number % 3 else "file")
                source = ACCOUNT if number % 3 else "upload"
                _serve(writer, ca, clock, host, (host, *names), 18 + (number * 37) % 71, source=source)
    _suggest(upkeep, writer, clock)
    _renewed_before(writer, ca, clock)
    _refused_drop(writer, ca)


def _add(writer: StoreWriter, host: str, names: tuple[str, ...], certificate: str) -> None:
    settings = {"host": host, "additional_names": names, "certificate": certificate}
    writer.add_site(host, SiteSettings.model_validate(settings))


def _serve(
    writer: StoreWriter,
    ca: CertificateAuthority,
    clock: Clock,
    host: str,
    names: tuple[str, ...],
    days: int,
    *,
    source: str = "upload",
    force: bool = False,
) -> None:
    end = clock() + timedelta(days=days, hours=5)
    issued = ca.issue(*names, not_before=end - timedelta(days=90), not_after=end)
    doing = "order" if source == ACCOUNT else "intake"
    files = [DroppedFile("all.pem", issued.combined_pem)]
    result = writer.install_files(host, files, source=source, force=force, doing=doing)
    assert result.version is not None, result.message


def _failing(
    upkeep: Upkeep,
    writer: StoreWriter,
    clock: Clock,
    host: str,
    names: tuple[str, ...],
    cause: Cause,
    detail: str,
    days: int,
) -> None:
    _add(writer, host, names, "acme")
    now = clock()
    failure = Failure(cause, detail, (host,))
    state = RenewalState().after_failure(failure, now - timedelta(hours=30), request="r", lifetime=None, fraction=0.3)
    state = state.after_failure(failure, now - timedelta(minutes=4), request="r", lifetime=None, fraction=0.5)
    upkeep.maintenance.memory.put(host, state)
    doing = "renew" if days else "order"
    writer.add_record(
        host, Record(now, doing, Outcome.FAILED, cause.value, detail, next_attempt=state.next_attempt, source=ACCOUNT)
    )


def _renewed_before(writer: StoreWriter, ca: CertificateAuthority, clock: Clock) -> None:
    """A site with a history: first from files of another CA with fewer names, now ordered."""
    name = NAMES[38]
    host, names = f"webmail.{name}.test", (f"webmail.{name}.test", f"autodiscover.{name}.test", f"caldav.{name}.test")
    other = CertificateAuthority("Sample Certification")
    _serve(writer, other, clock, host, names[:2], 30, source="upload")
    _serve(writer, ca, clock, host, names, 61, source=ACCOUNT)
    _serve(writer, ca, clock, host, names, 77, source=ACCOUNT)


def _refused_drop(writer: StoreWriter, ca: CertificateAuthority) -> None:
    """A key that belongs to another certificate."""
    host = f"webmail.{NAMES[6]}.test"
    right, other = ca.issue(host), ca.issue(host)
    drop_pair(writer, host, Issued(right.certificate, other.private_key, right.chain))
    check_until_decided(writer, host)


def _people(console: RunningConsole) -> None:
    """A domain administrator, a user who has not signed in yet, tokens, and audit entries of what they did."""
    site, other = (f"webmail.{NAMES[number]}.test" for number in (8, 2))
    console.add_user("bert", Role.DOMAIN, site, other)
    console.access.tokens.add("monitoring", Scope.READ, None, "user anna")
    console.access.tokens.add("panel of northwind", Scope.OPERATE, (site,), "user anna")
    admin, bound = console.api(), console.api(Scope.OPERATE, site)
    admin.send("PUT", "/api/v1/users/carla", {"role": "domain", "sites": [site]})
    admin.send("PUT", f"/api/v1/sites/{other}/settings", {"host": other, "certificate": "file"})
    bound.send("DELETE", f"/api/v1/sites/{site}")
    bound.send("PUT", f"/api/v1/sites/{site}/versions/7/live")


def _suggest(upkeep: Upkeep, writer: StoreWriter, clock: Clock) -> None:
    """The CA's window for one site, with a page about it."""
    host = f"webmail.{NAMES[8]}.test"
    entry = writer.site(host)
    assert entry.certificate is not None
    start = clock() + timedelta(days=9)
    window = SuggestedWindow(start, start + timedelta(days=2), "https://ca.example/why-now")
    info = RenewalInfo(entry.certificate.fingerprint, clock() + timedelta(hours=6), window)
    ways = tuple(NameWay(name, "http-01", "http-01 is open") for name in entry.names)
    upkeep.maintenance.memory.put(host, RenewalState(info=info, ways=ways))
