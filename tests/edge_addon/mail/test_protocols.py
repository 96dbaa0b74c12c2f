import pytest

from certstore.model.settings.models import ListenerKind
from edge_addon.mail.protocols import PROTOCOLS, MailProtocol


def test_every_kind_of_mail_listener_has_its_protocol() -> None:
    assert set(PROTOCOLS) == {kind for kind in ListenerKind if kind.is_mail}


@pytest.mark.parametrize("kind", PROTOCOLS)
def test_every_text_of_a_protocol_is_whole_lines_of_ascii(kind: ListenerKind) -> None:
    for text in texts(PROTOCOLS[kind]):
        assert text.isascii()
        assert text.endswith("\r\n")
        assert "\n" not in text.replace("\r\n", "")


def texts(protocol: MailProtocol) -> list[str]:
    found = [protocol.goodbye_text, protocol.too_long]
    if protocol.opening.greeting_over_tls is not None:
        found.append(protocol.opening.greeting_over_tls)
    if (script := protocol.before_tls) is not None:
        found += [
            script.greeting,
            *(rule.answer for rule in (*script.rules.values(), script.otherwise, script.malformed)),
        ]
    return found


@pytest.mark.parametrize(
    ("kind", "goodbye"),
    [
        ("imap", b"* BYE [UNAVAILABLE] Too busy\r\n"),
        ("pop3s", b"-ERR [SYS/TEMP] Too busy\r\n"),
        ("smtp", b"421 4.3.2 edge.test Too busy\r\n"),
        ("lmtp", b"421 4.3.2 edge.test Too busy\r\n"),
        ("submission", b"421 4.3.2 edge.test Too busy\r\n"),
        ("sieve", b'BYE (TRYLATER) "Too busy"\r\n'),
    ],
)
def test_a_goodbye_asks_the_client_to_retry(kind: str, goodbye: bytes) -> None:
    assert PROTOCOLS[ListenerKind(kind)].goodbye("edge.test", "Too busy") == goodbye


def test_only_mail_between_servers_goes_on_in_the_clear() -> None:
    assert [kind.value for kind, protocol in PROTOCOLS.items() if protocol.before_tls is None] == ["smtp", "lmtp"]
