"""Signed updates at a real BIND, and what each refusal says."""

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dns.message
import pytest

from certstore.acme.dns.bounds import Bounds
from certstore.acme.dns.rfc2136 import Rfc2136Writer
from certstore.acme.dns.zone_writer import CannotWrite
from certstore.acme.order_context import Interrupted
from certstore.model.settings.dns import Rfc2136Settings
from tests.certstore.acme.dns.zone_scene import place
from tests.peers.bind import KEY_NAME, Bind

pytestmark = pytest.mark.peer

AT = place("_acme-challenge.www.a.test", "a.test")


@pytest.fixture(scope="module")
def bind() -> Iterator[Bind]:
    with Bind({"a.test": ["www A 192.0.2.1"], "closed.test": []}, read_only=["closed.test"]) as running:
        yield running


def writer(bind: Bind, **settings: Any) -> Rfc2136Writer:
    given = {"server": bind.address, "tsig_secret_file": bind.key_file} | settings
    return Rfc2136Writer(Rfc2136Settings.model_validate(given), Path("/"))


def test_single_values_are_added_and_removed_and_others_stay(bind: Bind) -> None:
    bind.add_text("a.test", AT.name, "somebody else's")
    update = writer(bind)
    update.add(AT, ["one", "two"], Bounds(30))
    update.add(AT, ["one"], Bounds(30))
    assert bind.texts(AT.name) == {"somebody else's", "one", "two"}
    update.remove(AT, ["two", "never there"], Bounds(30))
    assert bind.texts(AT.name) == {"somebody else's", "one"}
    update.remove(AT, ["one"], Bounds(30))
    assert bind.texts(AT.name) == {"somebody else's"}


def test_the_zone_is_the_one_that_the_server_has(bind: Bind) -> None:
    """The public DNS may show another cut than a hidden primary."""
    writer(bind).add(place("_acme-challenge.b.a.test", "b.a.test"), ["one"], Bounds(30))
    assert bind.texts("_acme-challenge.b.a.test") == {"one"}


@pytest.mark.parametrize(
    ("at", "settings", "said", "needs_person"),
    [
        ("_acme-challenge.closed.test", {}, "refuses the update: the key may not change this name", True),
        ("_acme-challenge.elsewhere.example", {}, "has no zone that contains _acme-challenge.elsewhere.example", True),
        (AT.name, {"tsig_name": "unknown"}, "does not know the TSIG key (unknown)", True),
        (AT.name, {"tsig_algorithm": "hmac-sha512"}, "does not know the TSIG key", True),
        (AT.name, {"tsig_secret_file": "/nowhere/key"}, "tsig_secret_file /nowhere/key can't be read", True),
    ],
    ids=["not allowed", "no such zone", "unknown key", "other algorithm", "no file"],
)
def test_a_refusal_says_why(bind: Bind, at: str, settings: dict[str, Any], said: str, needs_person: bool) -> None:
    with pytest.raises(CannotWrite) as refused:
        writer(bind, **settings).add(place(at, "a.test"), ["one"], Bounds(30))
    assert said in str(refused.value)
    assert refused.value.needs_person is needs_person
    assert refused.value.remedy
    assert bind.secret not in str(refused.value) + refused.value.remedy


def test_another_secret_is_refused(bind: Bind, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("YW5vdGhlciBzZWNyZXQ=")
    with pytest.raises(CannotWrite, match="its key has another secret") as refused:
        writer(bind, tsig_secret_file=key, tsig_name=KEY_NAME).add(AT, ["one"], Bounds(30))
    assert refused.value.needs_person


def test_clocks_that_differ_are_named(bind: Bind, monkeypatch: pytest.MonkeyPatch) -> None:
    real = time.time
    monkeypatch.setattr(dns.message, "time", SimpleNamespace(time=lambda: real() - 3600))
    with pytest.raises(CannotWrite, match="clock") as refused:
        writer(bind).add(AT, ["one"], Bounds(30))
    assert "NTP" in refused.value.remedy


def test_a_server_that_is_not_there_may_come_back(bind: Bind) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(CannotWrite, match=r"could not connect to the DNS server .*: Connection refused") as failed:
            writer(bind, server=address).add(AT, ["one"], Bounds(30))
    assert not failed.value.needs_person


@pytest.fixture
def silent() -> Iterator[str]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield f"127.0.0.1:{listening.getsockname()[1]}"


def test_a_silent_server_is_given_up_in_time(bind: Bind, silent: str) -> None:
    with pytest.raises(CannotWrite, match="did not answer in time"):
        writer(bind, server=silent).add(AT, ["one"], Bounds(0.5))


def test_a_silent_server_does_not_hold_up_a_stop(bind: Bind, silent: str) -> None:
    stopping = threading.Event()
    threading.Timer(0.2, stopping.set).start()
    with pytest.raises(Interrupted):
        writer(bind, server=silent).add(AT, ["one"], Bounds(600, stopping.wait))
