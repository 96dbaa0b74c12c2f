"""Orders at another CA program than Pebble: what RFC 8555 leaves open works both ways."""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from certstore.acme.account import Account, Accounts, AccountSettings
from certstore.acme.network import Conversation, OrderFailed
from certstore.acme.renewal_info import ask_renewal_info, certificate_id
from certstore.model.layout import Layout
from certstore.model.renewal.ca import Ca, find_ca
from certstore.model.renewal.failure import Cause
from tests.certstore.acme.workshop import AGREED, make_layout
from tests.certstore.cli.command import Ran, certedge
from tests.certstore.renewal.scene import make_settings
from tests.peers.acme2certifier import Acme2certifier
from tests.running import RunningEdge, is_served_trusted, running_edge

pytestmark = pytest.mark.peer

HMAC_KEY = base64.urlsafe_b64encode(b"thirty-two bytes of a key, or so").rstrip(b"=").decode()
OTHER_KEY = base64.urlsafe_b64encode(b"another key of the same length..").rstrip(b"=").decode()


@dataclass
class Stage:
    edge: RunningEdge
    server: Acme2certifier

    @property
    def layout(self) -> Layout:
        return Layout(self.edge.store)

    def run(self, *words: str) -> Ran:
        ran = certedge(self.edge.folder, *words)
        assert ran.code == 0, (words, ran)
        return ran

    def leaf(self, site: str) -> x509.Certificate:
        return x509.load_pem_x509_certificate((self.layout.live(site) / "cert.pem").read_bytes())

    def is_trusted(self, host: str) -> bool:
        return is_served_trusted(self.edge.port("https"), host, self.server.root())


@contextmanager
def stage(folder: Path, **acme: Any) -> Iterator[Stage]:
    server = Acme2certifier(0)
    settings = make_settings(server, 0, **acme) | {"listeners": [{"kind": "http"}, {"kind": "https"}]}
    with running_edge(folder, settings) as edge:
        server.http_port = edge.port("http")
        with server:
            yield Stage(edge, server)


def test_order_and_renewals_over_a_restart_of_the_ca(tmp_path: Path) -> None:
    with stage(tmp_path) as scene:
        scene.run("site", "add", "a.test", "--name", "www.a.test", "--certificate", "acme", "--key-type", "rsa2048")
        scene.run("cert", "request", "a.test")
        first = scene.leaf("a.test")
        assert isinstance(first.public_key(), rsa.RSAPublicKey)
        assert scene.is_trusted("a.test")
        assert scene.is_trusted("www.a.test")
        assert not scene.is_trusted("b.test")
        scene.server.stop()
        scene.server.start()
        scene.run("site", "set", "a.test", "--key-type", "ec384")
        scene.run("renew", "a.test", "--force")
        second = scene.leaf("a.test")
        assert second.serial_number != first.serial_number
        key = second.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        assert key.key_size == 384
        assert scene.is_trusted("www.a.test")
        assert list(scene.layout.challenges.iterdir()) == []


def test_pair_of_both_key_kinds_for_a_name_beyond_ascii(tmp_path: Path) -> None:
    with stage(tmp_path) as scene:
        site = "xn--mnchen-3ya.test"
        scene.run("site", "add", site, "--host", "münchen.test", "--certificate", "acme", "--key-type", "ec256+rsa2048")
        scene.run("cert", "request", site)
        rsa_chain = (scene.layout.live(site) / "fullchain-rsa.pem").read_bytes()
        assert isinstance(scene.leaf(site).public_key(), ec.EllipticCurvePublicKey)
        assert isinstance(x509.load_pem_x509_certificate(rsa_chain).public_key(), rsa.RSAPublicKey)
        assert scene.is_trusted(site)


def test_window_is_asked_for_and_the_next_order_replaces(tmp_path: Path) -> None:
    with stage(tmp_path) as scene:
        scene.run("site", "add", "a.test", "--certificate", "acme")
        scene.run("cert", "request", "a.test")
        pem = (scene.layout.live("a.test") / "cert.pem").read_bytes()
        name = certificate_id(pem)
        assert name is not None
        conversation = Conversation.begin(scene.server.directory, ca_file=scene.server.ca_file)
        answer = ask_renewal_info(conversation, name)
        conversation.close()
        assert answer.problem == ""
        assert answer.window is not None
        leaf = scene.leaf("a.test")
        assert leaf.not_valid_before_utc < answer.window.start < leaf.not_valid_after_utc
        scene.run("renew", "a.test", "--force")
        assert scene.leaf("a.test").serial_number != leaf.serial_number


def test_ca_that_was_set_up_anew_gets_the_account_again(tmp_path: Path) -> None:
    with stage(tmp_path) as scene:
        scene.run("site", "add", "a.test", "--certificate", "acme")
        scene.run("cert", "request", "a.test")
        before = scene.layout.live("a.test").readlink()
        scene.server.stop()
        scene.server.forget()
        scene.server.start()
        scene.run("renew", "a.test", "--force")
        assert scene.layout.live("a.test").readlink() != before


@dataclass
class Actions:
    """Accounts at a CA that wants an external account."""

    server: Acme2certifier
    layout: Layout

    @property
    def ca(self) -> Ca:
        return find_ca(self.server.directory)

    def register(self, wishes: AccountSettings) -> Account:
        conversation = Conversation.begin(self.server.directory, ca_file=self.server.ca_file)
        try:
            return Accounts(self.layout).ensure(self.ca, conversation, wishes)
        finally:
            conversation.close()


@pytest.fixture
def actions(tmp_path: Path) -> Iterator[Actions]:
    with Acme2certifier(1, external_accounts={"customer-1": HMAC_KEY}) as server:
        yield Actions(server, make_layout(tmp_path / "store"))


def as_customer(key_id: str, mac_key: str, *contact: str) -> AccountSettings:
    return AccountSettings(contact or AGREED.contact, agrees_to_terms=True, key_id=key_id, mac_key=mac_key)


@pytest.mark.parametrize(
    ("key_id", "mac_key"), [("customer-1", OTHER_KEY), ("nobody", HMAC_KEY)], ids=["another key", "an unknown key id"]
)
def test_external_account_that_is_not_let_in_is_named_as_such(actions: Actions, key_id: str, mac_key: str) -> None:
    with pytest.raises(OrderFailed) as failed:
        actions.register(as_customer(key_id, mac_key))
    assert failed.value.failure.cause is Cause.EXTERNAL_ACCOUNT
    assert mac_key not in failed.value.failure.detail
    assert Accounts(actions.layout).load(actions.ca) is None
    assert actions.register(as_customer("customer-1", HMAC_KEY)).url


def test_contact_of_an_external_account_is_changed(actions: Actions) -> None:
    first = actions.register(as_customer("customer-1", HMAC_KEY))
    changed = actions.register(as_customer("customer-1", HMAC_KEY, "new@example.org", "more@example.org"))
    assert changed.url == first.url
    assert changed.contact == ("new@example.org", "more@example.org")


def test_contact_changed_at_a_ca_that_was_set_up_anew(actions: Actions) -> None:
    actions.register(as_customer("customer-1", HMAC_KEY))
    actions.server.stop()
    actions.server.forget()
    actions.server.start()
    changed = actions.register(as_customer("customer-1", HMAC_KEY, "new@example.org"))
    assert changed.contact == ("new@example.org",)
