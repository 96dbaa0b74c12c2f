"""Fifty sites in every state that a site can be in, made the way that real ones come about wherever that is quick."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from certstore.model.causes import Cause, Failure
from certstore.model.contents import DroppedFile
from certstore.model.record import Outcome, Record
from certstore.model.renewal_state import RenewalInfo, RenewalState, SuggestedWindow
from certstore.model.settings import Settings, SiteSettings
from certstore.service.caretaker import Caretaker
from certstore.store import StoreWriter
from tests.certificates import CertificateAuthority
from tests.certstore.admin.console import Clock, RunningConsole

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


def make_caretaker(writer: StoreWriter, settings: Settings, base: Path) -> Caretaker:
    return Caretaker(writer, settings, base)


def fill(console: RunningConsole, caretaker: Caretaker, ca: CertificateAuthority) -> None:
    """Main with a certificate, and the 49 others."""
    writer, clock = console.writer, console.clock
    main = ca.issue("mail.install.test", "autodiscover.install.test", not_after=clock() + timedelta(days=71))
    writer.take_in("main", [DroppedFile("all.pem", main.combined_pem)], source="upload")
    for number, name in enumerate(NAMES):
        host = f"webmail.{name}.test"
        names = tuple(f"{word}.{name}.test" for word in ("autodiscover", "caldav", "mail")[: number % 4])
        match number % 10:
            case 0 if number < 40:
                _failing(
                    caretaker,
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
                    caretaker,
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
    _suggest(caretaker, writer, clock)


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
    result = writer.take_in(host, files, source=source, force=force, doing=doing)
    assert result.version is not None, result.message


def _failing(
    caretaker: Caretaker,
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
    caretaker.maintenance.book.put(host, state)
    doing = "renew" if days else "order"
    writer.add_record(
        host, Record(now, doing, Outcome.FAILED, cause.value, detail, next_attempt=state.next_attempt, source=ACCOUNT)
    )


def _suggest(caretaker: Caretaker, writer: StoreWriter, clock: Clock) -> None:
    """A window of the CA's, with a page about it, for one site."""
    host = f"webmail.{NAMES[8]}.test"
    entry = writer.site(host)
    assert entry.certificate is not None
    start = clock() + timedelta(days=9)
    window = SuggestedWindow(start, start + timedelta(days=2), "https://ca.example/why-now")
    info = RenewalInfo(entry.certificate.fingerprint, window, clock() + timedelta(hours=6))
    caretaker.maintenance.book.put(host, RenewalState(info=info))
