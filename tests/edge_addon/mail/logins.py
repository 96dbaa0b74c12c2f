"""Shared by the tests of the logins: an open dialogue, an exchange played through it, and what must hold of any."""

from __future__ import annotations

from edge_addon.mail.dialogue import Step
from edge_addon.mail.imap import ImapLogin
from edge_addon.mail.login import REFUSED_AFTER_TLS, Login
from edge_addon.mail.pop3 import Pop3Login
from edge_addon.mail.sieve import SieveLogin
from tests.edge_addon.mail.steps import causes, fed, to_client, to_upstream

LoginClass = type[ImapLogin | Pop3Login | SieveLogin]

Exchange = list[tuple[bytes, bytes]]
"""What the client sends and what the upstream answers."""


def ready(protocol: LoginClass) -> Login:
    watch = protocol()
    watch.upstream_ready(b"")
    return watch


def play(watch: Login, exchange: Exchange) -> list[Step]:
    steps: list[Step] = []
    for said, answer in exchange:
        steps += watch.from_client(said)
        steps += watch.from_upstream(answer)
    return steps


def assert_answered_by_the_edge(watch: Login, said: bytes, answer: bytes, harmless: bytes) -> None:
    """The command does not pass, and the next one, which is harmless, does."""
    steps = watch.from_client(said)
    assert to_client(steps).startswith(answer)
    assert to_upstream(steps) == b""
    assert causes(steps) == [REFUSED_AFTER_TLS]
    assert to_upstream(watch.from_client(harmless)) == harmless


def assert_literal_hides_nothing(watch: Login, said: bytes, form: bytes, hidden: bytes) -> None:
    """`HERE` in `said` stands for the length of what it could hide."""
    steps = watch.from_client(said.replace(b"HERE", form % len(hidden)) + hidden + b"\r\n")
    assert to_upstream(steps) == b""
    assert REFUSED_AFTER_TLS in causes(steps)


def assert_starttls_is_hidden(protocol: LoginClass, said: bytes, answer: bytes, seen: bytes) -> None:
    """However the answer is cut; the next command may go after it."""
    for cut in range(len(answer)):
        watch = ready(protocol)
        watch.from_client(said)
        steps = fed(watch.from_upstream, [answer[:cut], answer[cut:]])
        assert to_client(steps) == seen
        assert to_upstream(watch.from_client(said)) == said
