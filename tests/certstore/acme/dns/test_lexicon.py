"""Hosted DNS through the real dns-lexicon, whose driver for PowerDNS speaks to a server of the tests."""

import importlib.util
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from certstore.acme.dns.bounds import Bounds
from certstore.acme.dns.lexicon import LexiconWriter, find_fault
from certstore.acme.dns.zone_writer import CannotWrite
from certstore.acme.order_context import Interrupted
from certstore.model.settings.dns import LexiconSettings
from tests.certstore.acme.dns.zone_scene import place
from tests.peers import do_without
from tests.peers.hosted_dns import HostedDns

pytestmark = pytest.mark.peer

ZONE = "acme.client-a.co.uk"
AT = place(f"_acme-challenge.{ZONE}", ZONE)
TOKEN = "s3cr3t-of-the-zone"


@pytest.fixture(autouse=True)
def _library() -> None:
    if importlib.util.find_spec("lexicon") is None:
        do_without("dns-lexicon (pip install dns-lexicon)")


@pytest.fixture
def hosted() -> Iterator[HostedDns]:
    with HostedDns(ZONE, TOKEN) as running:
        yield running


def writer(folder: Path, hosted: HostedDns, token: str = TOKEN, **settings: Any) -> LexiconWriter:
    (folder / "powerdns.yaml").write_text(f"auth_token: {token}\n")
    given = {"provider": "powerdns", "credentials_file": "powerdns.yaml", "options": {"pdns_server": hosted.url}}
    return LexiconWriter(LexiconSettings.model_validate(given | settings), folder)


@pytest.mark.parametrize("zone", ["acme.client-a.co.uk", "client-a.com", "a.internal-name", "deep.in.client-a.com"])
def test_the_zone_is_the_one_that_was_given(tmp_path: Path, hosted: HostedDns, zone: str) -> None:
    """The library would guess another one for some of these."""
    hosted.zone = zone
    writer(tmp_path, hosted).add(place(f"_acme-challenge.www.{zone}", zone), ["one"], Bounds(60))
    assert hosted.texts(f"_acme-challenge.www.{zone}") == {"one"}


def test_values_are_added_beside_others_and_only_ours_removed(tmp_path: Path, hosted: HostedDns) -> None:
    hosted.records[f"{AT.name}.", "TXT"] = ['"somebody else\'s"']
    hosted.records[f"www.{ZONE}.", "A"] = ["192.0.2.1"]
    lexicon = writer(tmp_path, hosted)
    lexicon.add(AT, ["one", "two"], Bounds(60))
    assert hosted.texts(AT.name) == {"somebody else's", "one", "two"}
    lexicon.remove(AT, ["one", "never added"], Bounds(60))
    assert hosted.texts(AT.name) == {"somebody else's", "two"}
    assert hosted.records[f"www.{ZONE}.", "A"] == ["192.0.2.1"]
    assert {each.rpartition("/")[2] for each in hosted.requests} == {f"{ZONE}."}, "the zone that was given, as it is"


def test_credentials_that_are_refused_need_a_person_and_are_not_shown(tmp_path: Path, hosted: HostedDns) -> None:
    with pytest.raises(CannotWrite, match="powerdns does not accept the credentials") as failed:
        writer(tmp_path, hosted, "s3cr3t-but-wrong").add(AT, ["one"], Bounds(60))
    assert failed.value.needs_person
    assert "s3cr3t" not in str(failed.value)
    assert "401" in str(failed.value)


def test_a_zone_that_the_provider_does_not_have_is_said(tmp_path: Path, hosted: HostedDns) -> None:
    hosted.zone = "another.test"
    with pytest.raises(CannotWrite, match=r"powerdns did not change the record: .*404"):
        writer(tmp_path, hosted).add(AT, ["one"], Bounds(60))


def test_missing_options_are_the_drivers_to_name(tmp_path: Path, hosted: HostedDns) -> None:
    with pytest.raises(CannotWrite, match="pdns_server"):
        writer(tmp_path, hosted, options={}).add(AT, ["one"], Bounds(60))


def test_a_provider_that_hangs_is_given_up(tmp_path: Path) -> None:
    with (
        HostedDns(ZONE, TOKEN, hanging=True) as hosted,
        pytest.raises(CannotWrite, match="powerdns did not answer within 3 seconds"),
    ):
        writer(tmp_path, hosted, seconds=3).add(AT, ["one"], Bounds(60))


def test_a_stop_does_not_wait_for_a_provider_that_hangs(tmp_path: Path) -> None:
    stopping = threading.Event()
    with HostedDns(ZONE, TOKEN, hanging=True) as hosted:

        def wait(seconds: float) -> bool:
            if hosted.requests:
                stopping.set()
            return stopping.is_set()

        with pytest.raises(Interrupted):
            writer(tmp_path, hosted).add(AT, ["one"], Bounds(600, wait))


def test_an_unknown_provider_is_named_before_anything_is_asked(tmp_path: Path, hosted: HostedDns) -> None:
    assert find_fault(LexiconSettings(provider="powerdns")) is None
    with pytest.raises(CannotWrite, match="dns-lexicon knows no provider cloudflair") as failed:
        writer(tmp_path, hosted, provider="cloudflair").add(AT, ["one"], Bounds(60))
    assert "cloudflare" in failed.value.remedy


def test_without_the_library_it_says_how_to_install_it(
    tmp_path: Path, hosted: HostedDns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CannotWrite, match="dns-lexicon is not installed") as failed:
        writer(tmp_path, hosted).add(AT, ["one"], Bounds(60))
    assert f'{sys.prefix}/bin/pip install "dns-lexicon' in failed.value.remedy
