"""What an import does with each site: a table of what was found against what exists."""

from datetime import datetime, timedelta

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from certstore.cli.import_plan import Action, KnownSite, PlannedSite, plan_sites
from certstore.cli.import_sources import FoundSite
from certstore.model.certificate.x509_facts import CertificateFacts, read_certificate
from certstore.model.settings.models import Source
from certstore.model.version import Version
from tests.certificates import CertificateAuthority
from tests.certstore.model.bundles import DAY, NOW

CA = CertificateAuthority()


def leaf(*names: str, begins: datetime = NOW - DAY) -> CertificateFacts:
    issued = CA.issue(*names, not_before=begins)
    return read_certificate(issued.certificate.public_bytes(Encoding.DER))


def found(site: str, *names: str, begins: datetime = NOW - DAY, path: str = "/found") -> FoundSite:
    host, *others = names or (site,)
    return FoundSite(site, host, tuple(others), Source.ACME, (), path, leaf(host, *others, begins=begins))


def known(
    site: str, *names: str, begins: datetime | None = NOW - 2 * DAY, fingerprint: str = "f", source: str = "upload"
) -> KnownSite:
    host, *others = names or (site,)
    version = None
    if begins is not None:
        version = Version(
            site, 3, begins, source, "", fingerprint, (host,), begins, begins + 90 * DAY, "", "", "ec", 256, False, 1,
            False, (),
        )  # fmt: skip
    return KnownSite(site, host, (host, *others), Source.FILE, version)


def decide(each: FoundSite, *exist: KnownSite, overwrite: tuple[str, ...] = ()) -> PlannedSite:
    owners = {name: site.site for site in exist for name in site.names}
    (planned,) = plan_sites([each], {site.site: site for site in exist}, owners, overwrite)
    return planned


PLACEHOLDER = known("main", "mail.test", source="self-signed", begins=NOW - timedelta(hours=1))


@pytest.mark.parametrize(
    ("each", "exist", "overwrite", "action"),
    [
        (found("a.test"), (), (), Action.ADD),
        (found("a.test"), (known("a.test"),), (), Action.KEEP),
        (found("a.test"), (known("a.test"),), ("a.test",), Action.OVERWRITE),
        (found("a.test"), (known("a.test", begins=None),), (), Action.KEEP),
        (found("a.test"), (known("a.test", begins=None),), ("a.test",), Action.OVERWRITE),
        (found("a.test", begins=NOW - 3 * DAY), (known("a.test"),), ("a.test",), Action.KEEP),
        (found("main", "mail.test"), (known("main", "mail.test"),), (), Action.KEEP),
        (found("main", "mail.test"), (known("main", "mail.test"),), ("main",), Action.OVERWRITE),
        (found("main", "mail.test", begins=NOW - 3 * DAY), (PLACEHOLDER,), (), Action.FILL),
        (found("main", "mx.test", "mail.test"), (PLACEHOLDER,), (), Action.FILL),
        (found("main", "mx.test"), (PLACEHOLDER,), (), Action.KEEP),
        (found("main", "mx.test"), (PLACEHOLDER,), ("main",), Action.OVERWRITE),
    ],
)
def test_decision(each: FoundSite, exist: tuple[KnownSite, ...], overwrite: tuple[str, ...], action: Action) -> None:
    assert decide(each, *exist, overwrite=overwrite).action is action


def test_site_is_recognised_by_its_host_whatever_its_key() -> None:
    planned = decide(found("a.test"), known("client-7", "a.test"))
    assert (planned.site, planned.action) == ("client-7", Action.KEEP)
    assert "--overwrite client-7" in planned.what[0]


def test_overwriting_says_every_change_of_the_settings() -> None:
    planned = decide(
        found("a.test", "a.test", "new.test"), known("a.test", "a.test", "old.test"), overwrite=("a.test",)
    )
    said = "; ".join(planned.what)
    assert "version 3 is replaced" in said
    assert "names added: new.test" in said
    assert "names removed: old.test" in said
    assert "certificate: file becomes acme" in said


def test_name_of_another_site_stays_there_and_the_plan_says_so() -> None:
    planned = decide(found("a.test", "a.test", "b.test"), known("b.test"))
    assert planned.action is Action.ADD
    assert "b.test stays with the site b.test" in planned.what


def test_the_same_certificate_is_no_reason_to_change_anything() -> None:
    each = found("a.test")
    planned = decide(each, known("a.test", fingerprint=each.leaf.fingerprint))
    assert planned.action is Action.KEEP
    assert "has this certificate already (version 3)" in planned.what[0]


def test_two_finds_for_one_site_are_not_imported_over_one_another() -> None:
    both = [found("a.test", path="/one"), found("client-7", "a.test", path="/two")]
    exist = known("client-7", "a.test")
    planned = plan_sites(both, {"client-7": exist}, {}, ("client-7",))
    assert [each.action for each in planned] == [Action.OVERWRITE, Action.KEEP]
    assert "/one" in planned[1].what[0]
