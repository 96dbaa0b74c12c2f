"""tls-alpn-01 in the store: the files that workers read, the check through the edge's own listener, and the preflight.

The responder makes certificates as the workers do; `edge_addon/whole/test_tls_alpn01` has the workers themselves.
"""

import contextlib
import math
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from certstore.acme.challenge_kind import ChallengeKind, ProbeContext, Proof, Publishing
from certstore.acme.dns_facts import Resolver
from certstore.acme.name_probe import Ports
from certstore.acme.tls_alpn01 import PublishedProofs, self_check, tls_alpn01
from certstore.acme.token_sharing import OneEdge
from certstore.model.layout import Layout
from certstore.model.renewal.failure import Cause
from certstore.model.renewal.preflight_facts import Answer, ProbeFacts
from certstore.model.renewal.probe_targets import ProbeTargets
from certstore.model.settings.addresses import HostPort
from certstore.model.settings.models import Settings
from certstore.net.lanes import Budget
from certstore.net.own_address import OwnListener
from tests.certificates import CertificateAuthority
from tests.certstore.acme.workshop import AlpnResponder, make_layout
from tests.ports import free_port, listening_socket

PUBLISHING = Publishing(lambda seconds: False)
PROOF = Proof("a.test", "t" * 43, f"{'t' * 43}.{'k' * 43}", "tls-alpn-01")
WITH_HTTPS = Settings.model_validate({"listeners": [{"kind": "https", "listen": "127.0.0.1:443"}]})
LATER = Proof("a.test", "u" * 43, f"{'u' * 43}.{'k' * 43}", "tls-alpn-01")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return make_layout(tmp_path)


@pytest.fixture
def responder(layout: Layout) -> Iterator[AlpnResponder]:
    with AlpnResponder(layout).running() as running:
        yield running


def listener(port: int) -> OwnListener:
    return OwnListener(HostPort("127.0.0.1", port))


def files(layout: Layout) -> list[str]:
    return sorted(path.name for path in layout.alpn_challenges.iterdir())


def test_proof_is_a_file_of_the_name_that_workers_may_read_until_it_is_withdrawn(layout: Layout) -> None:
    kind = tls_alpn01(layout, Settings())
    kind.publish([PROOF], PUBLISHING)
    path = layout.alpn_challenges / "a.test"
    assert path.read_text() == PROOF.key_authorization
    assert path.stat().st_mode & 0o777 == 0o644
    kind.withdraw([PROOF])
    kind.withdraw([PROOF])
    assert files(layout) == []


def test_newer_proof_of_a_name_outlives_the_withdrawal_of_the_older(layout: Layout) -> None:
    kind = tls_alpn01(layout, Settings())
    kind.publish([PROOF], PUBLISHING)
    kind.publish([LATER], PUBLISHING)
    kind.withdraw([PROOF])
    assert files(layout) == ["a.test"]
    kind.withdraw([LATER])
    assert files(layout) == []


@pytest.mark.parametrize("name", ["../a.test", "a.test/b", "*.a.test", "", "127.0.0.1", "a" * 300])
def test_text_that_is_no_host_name_becomes_no_path(layout: Layout, name: str) -> None:
    kind = tls_alpn01(layout, Settings())
    proof = Proof(name, "t" * 43, "x", "tls-alpn-01")
    with pytest.raises(ValueError, match="host name"):
        kind.publish([proof], PUBLISHING)
    kind.withdraw([proof])
    assert files(layout) == []


def test_one_listener_that_shows_the_proof_is_enough(layout: Layout, responder: AlpnResponder) -> None:
    dead, alive = listener(free_port()), listener(responder.port)
    failure = self_check([dead, alive], PROOF)
    assert failure is not None
    assert failure.cause is Cause.OWN_LISTENER
    assert "refused" in failure.detail
    assert "expected certificate" in failure.detail
    assert "https" in failure.remedy
    tls_alpn01(layout, Settings()).publish([PROOF], PUBLISHING)
    assert self_check([dead, alive], PROOF) is None
    assert self_check([alive], LATER) is not None, "the proof of another token"


def test_wildcards_and_edges_without_https_are_told_what_to_do(layout: Layout) -> None:
    with_listener = tls_alpn01(layout, WITH_HTTPS)
    assert with_listener.cannot_prove("a.test") is None
    cannot = with_listener.cannot_prove("*.a.test")
    assert cannot is not None
    assert not cannot.is_missing
    assert "dns-01" in cannot.remedy
    missing = tls_alpn01(layout, Settings()).cannot_prove("a.test")
    assert missing is not None
    assert missing.is_missing
    assert "https" in missing.remedy


def test_listener_that_only_a_load_balancer_may_reach_is_not_asked(layout: Layout) -> None:
    """A connection of ours would be refused, so only the CA can tell."""
    facts = {
        "listeners": [{"kind": "https", "listen": f"127.0.0.1:{free_port()}", "accept_proxy_protocol": True}],
        "trusted_proxies": ["203.0.113.0/24"],
    }
    kind = tls_alpn01(layout, Settings.model_validate(facts))
    assert kind.cannot_prove("a.test") is None
    assert kind.self_check(PROOF) is None
    asked = tls_alpn01(layout, Settings.model_validate(facts | {"trusted_proxies": ["127.0.0.0/8"]}))
    assert asked.self_check(PROOF) is not None, "nobody listens there"


# Preflight


def probed(kind: ChallengeKind, name: str, address: str = "127.0.0.1", seconds: float = math.inf) -> Answer:
    with kind.probing(ProbeContext(Resolver(HostPort("127.0.0.1", 9)))) as probe:
        (facts,) = probe(name, [address], Budget(seconds)).probes
    return facts.answer


def kind_at(layout: Layout, port: int, *, allows_private: bool = True) -> ChallengeKind:
    return tls_alpn01(layout, Settings(), Ports(https=port), ProbeTargets(allows_private=allows_private))


def test_address_that_leads_here_shows_the_mark_of_the_preflight(layout: Layout, responder: AlpnResponder) -> None:
    assert probed(kind_at(layout, responder.port), "a.test") is Answer.OURS
    assert responder.asked == ["a.test"]
    assert files(layout) == [], "the mark is gone"


def test_mark_does_not_take_the_place_of_an_order_s_proof(layout: Layout, responder: AlpnResponder) -> None:
    kind = kind_at(layout, responder.port)
    kind.publish([PROOF], PUBLISHING)
    assert probed(kind, "a.test") is Answer.OURS
    assert (layout.alpn_challenges / "a.test").read_text() == PROOF.key_authorization


def test_order_may_publish_while_a_preflight_looks(layout: Layout, responder: AlpnResponder) -> None:
    kind = kind_at(layout, responder.port)
    context = ProbeContext(Resolver(HostPort("127.0.0.1", 9)))
    with kind.probing(context) as probe:
        probe("a.test", ["127.0.0.1"], Budget(20))
        kind.publish([PROOF], PUBLISHING)
        (facts,) = probe("a.test", ["127.0.0.1"], Budget(20)).probes
        assert facts.answer is Answer.OURS
    assert files(layout) == ["a.test"], "the end of the preflight leaves the order's proof"


def test_probe_that_goes_on_after_the_preflight_leaves_nothing_behind(layout: Layout, responder: AlpnResponder) -> None:
    kind = kind_at(layout, responder.port)
    with kind.probing(ProbeContext(Resolver(HostPort("127.0.0.1", 9)))) as probe:
        pass
    probe("a.test", ["127.0.0.1"], Budget(20))
    assert files(layout) == []


def test_proof_that_is_withdrawn_while_a_preflight_looks_leaves_nothing_behind(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second look then finds no proof, and puts a mark of its own."""
    kind = kind_at(layout, 9)
    kind.publish([PROOF], PUBLISHING)

    def look(*_: object) -> ProbeFacts:
        kind.withdraw([PROOF])
        return ProbeFacts("127.0.0.1", Answer.WRONG)

    monkeypatch.setattr("certstore.acme.tls_alpn01._probe", look)
    assert probed(kind, "a.test") is Answer.WRONG
    assert files(layout) == []


@contextlib.contextmanager
def serving(answer: bytes | None, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """A server that answers the first bytes in clear, or shakes hands."""
    listening = listening_socket()

    def serve() -> None:
        accepted, _ = listening.accept()
        accepted.settimeout(20)
        with contextlib.suppress(OSError):
            if context is not None:
                context.wrap_socket(accepted, server_side=True).close()
            else:
                accepted.recv(4096)
                if answer:
                    accepted.sendall(answer)
        accepted.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        thread.join()
        listening.close()


def test_other_tls_server_is_told_from_one_that_speaks_no_tls(layout: Layout, tmp_path: Path) -> None:
    CertificateAuthority().issue("a.test").write_to(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "fullchain.pem", tmp_path / "privkey.pem")
    with serving(None, context) as port:
        assert probed(kind_at(layout, port), "a.test") is Answer.WRONG
    with serving(b"\x15\x03\x03\x00\x02\x02\x78") as port:
        assert probed(kind_at(layout, port), "a.test") is Answer.WRONG, "an alert comes from a TLS server"
    with serving(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        assert probed(kind_at(layout, port), "a.test") is Answer.NO_TLS
    with serving(b"") as port:
        assert probed(kind_at(layout, port), "a.test") is Answer.NO_TLS


def test_name_of_another_server_is_not_ours(layout: Layout, responder: AlpnResponder) -> None:
    responder.unhelpful.add("a.test")
    assert probed(kind_at(layout, responder.port), "a.test") is Answer.WRONG


def test_closed_silent_and_forbidden_addresses_have_their_own_answers(layout: Layout) -> None:
    assert probed(kind_at(layout, free_port()), "a.test") is Answer.REFUSED
    assert probed(kind_at(layout, free_port(), allows_private=False), "a.test") is Answer.NOT_ASKED
    silent: socket.socket = listening_socket()
    try:
        assert probed(kind_at(layout, silent.getsockname()[1]), "a.test", seconds=0.5) is Answer.TIMED_OUT
    finally:
        silent.close()


def test_files_that_a_killed_process_left_are_removed_but_needed_ones_stay(layout: Layout) -> None:
    published = PublishedProofs(layout, OneEdge())
    needed = Proof("needed.test", "n" * 43, f"{'n' * 43}.{'k' * 43}", "tls-alpn-01")
    by_http = Proof("http.test", "h" * 43, f"{'h' * 43}.{'k' * 43}")
    published.publish([PROOF, needed])
    published.mark("marked.test")
    published.publish([Proof("http.test", "t" * 43, f"{'t' * 43}.{'k' * 43}", "tls-alpn-01")])
    published.publish([Proof("theirs.test", "o" * 43, f"{'o' * 43}.{'a' * 43}", "tls-alpn-01")])
    assert published.remove_stale(["k" * 43], [needed, by_http]) == 3
    assert files(layout) == ["needed.test", "theirs.test"], "of another edge, with another account"
