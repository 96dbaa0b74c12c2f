"""Which checks there are, and what is wrong with a chain, without any listener."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import cast

import pytest

from certstore.model.settings.addresses import HostPort
from certstore.model.settings.models import ListenerSettings, Source
from certstore.model.snapshot import MAIN, ServedCertificate, SiteEntry, Snapshot
from certstore.net.own_address import OwnListener
from certstore.verify.plan import Chains, Check, difference, fingerprint_of, plan, run_check

NOW = datetime(2027, 3, 1, tzinfo=UTC)


def certificate(site: str, *, has_rsa_pair: bool = False) -> ServedCertificate:
    begin, end = NOW - timedelta(days=1), NOW + timedelta(days=60)
    return ServedCertificate(site, 1, "f" * 64, (f"{site}.test",), begin, end, has_rsa_pair=has_rsa_pair)


MAIN_ENTRY = SiteEntry(MAIN, "main.test", ("main.test",), Source.FILE, certificate(MAIN))
SITE_ENTRY = SiteEntry("a", "a.test", ("a.test",), Source.FILE, certificate("a", has_rsa_pair=True))
SNAPSHOT = Snapshot.build([MAIN_ENTRY, SITE_ENTRY])


def checks(kind: str, listen: str = "0.0.0.0:443", *, accepts_header: bool = False) -> list[Check]:
    given = {"kind": kind, "listen": listen, "accept_proxy_protocol": accepts_header}
    if kind == "imaps":
        given["upstream"] = "127.0.0.1:143"
    listener = ListenerSettings.model_validate(given)
    return list(plan([listener], SNAPSHOT, [MAIN_ENTRY, SITE_ENTRY], [ip_network("127.0.0.0/8")], NOW))


def test_https_is_asked_without_a_name_with_each_host_and_as_an_rsa_client_where_there_are_two_pairs() -> None:
    asked = [
        (check.probe.server_name, check.probe.rsa_only, check.expected and check.expected.site)
        for check in checks("https")
    ]
    assert asked == [(None, False, MAIN), ("main.test", False, MAIN), ("a.test", False, "a"), ("a.test", True, "a")]


def test_mail_is_asked_once_for_the_main_certificate() -> None:
    (check,) = checks("imaps")
    assert (check.expected and check.expected.site, check.probe.server_name) == (MAIN, "main.test")


@pytest.mark.parametrize("kind", ["http", "https", "imaps"])
def test_a_listener_for_both_families_is_asked_by_both(kind: str) -> None:
    every = [check.probe.at.address.host for check in checks(kind, "[::]:443")]
    assert every.count("127.0.0.1") == 1
    assert set(every) == {"::1", "127.0.0.1"}


def test_clear_text_only_has_to_answer() -> None:
    (check,) = checks("http", "0.0.0.0:80")
    assert (check.expected, check.probe.at) == (None, OwnListener(HostPort("127.0.0.1", 80)))


def test_listener_that_trusts_this_machine_is_sent_a_header() -> None:
    assert {check.probe.at.wants_proxy_header for check in checks("https", accepts_header=True)} == {True}


def test_port_of_the_systems_choice_can_not_be_checked() -> None:
    result = run_check(checks("https", "127.0.0.1:0")[0], cast(Chains, None), 1.0, NOW)
    assert result.problem is not None
    assert "chooses its port" in result.problem


class Archive:
    """Version 7 of every site has the leaf `old`."""

    def version_with(self, site: str, fingerprint: str) -> int | None:
        return 7 if fingerprint == fingerprint_of([b"old"]) else None


@pytest.mark.parametrize(
    ("served", "words"),
    [
        ([b"leaf", b"ca"], None),
        ([], "no certificate"),
        ([b"leaf"], "with 0 instead of 1 intermediates"),
        ([b"leaf", b"other"], "other intermediates"),
        ([b"old", b"ca"], "it serves version 7; live is version 1 of a"),
        ([b"strange", b"ca"], "another certificate"),
    ],
    ids=["right", "nothing", "no chain", "another chain", "an older version", "unknown"],
)
def test_each_difference_has_its_own_words(served: Sequence[bytes], words: str | None) -> None:
    problem = difference(served, [b"leaf", b"ca"], certificate("a"), cast(Chains, Archive()))
    assert problem is None if words is None else problem is not None and words in problem
