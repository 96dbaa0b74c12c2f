"""Commands and replies of all mail protocols, before and after TLS."""

from __future__ import annotations

from collections.abc import Callable

from edge_addon.mail.dialogue import Action, Dialogue, Ended, Ready, Step, ToUpstream
from edge_addon.mail.message_text import MessageText, Verdict
from edge_addon.mail.opening import Opening
from edge_addon.mail.protocols import IMAP, LMTP, POP3, SIEVE, SMTP, SUBMISSION, MailProtocol
from edge_addon.mail.starttls import BeforeTls
from tests.edge_addon.mail.steps import fed, summary, to_client, to_upstream
from tests.edge_addon.readers import refusing_server
from tests.fuzz.target import Target, pieces, words

_NAMES = {"imap": IMAP, "pop3": POP3, "sieve": SIEVE, "submission": SUBMISSION, "smtp": SMTP, "lmtp": LMTP}
_ENDS = (Action.CLOSE, Action.START_TLS, Action.TUNNEL)


def _take(feed: Callable[[bytes], list[Step]], parts: list[bytes]) -> list[Step]:
    """What a session carries out: nothing after its end."""
    steps: list[Step] = []
    for step in fed(feed, parts):
        steps.append(step)
        if isinstance(step, (Ended, Ready)) or step in _ENDS:
            break
    return steps


def _before_tls(protocol: MailProtocol) -> Callable[[bytes], None]:
    script = protocol.before_tls
    assert script is not None

    def check(data: bytes) -> None:
        """Any cut is answered the same, in whole lines, and nothing reaches a mail server."""
        steps = _take(BeforeTls(script, "edge.test").from_client, [data])
        assert not to_upstream(steps)
        said = to_client(steps)
        assert not said or said.endswith(b"\r\n")
        assert said.count(b"\n") == said.count(b"\r\n") == said.count(b"\r")
        if Action.START_TLS not in steps:  # what comes with STARTTLS is counted, what comes later is not read
            assert summary(_take(BeforeTls(script, "edge.test").from_client, pieces(data))) == summary(steps)

    return check


def _ready(protocol: MailProtocol, *, is_secure: bool) -> Dialogue:
    talk = protocol.dialogue(is_secure)
    talk.upstream_ready(b"")
    return talk


def _after_tls(protocol: MailProtocol, *, is_secure: bool = True) -> Callable[[bytes], None]:
    def check(data: bytes) -> None:
        """Any cut passes the same bytes; none is invented, and none of a refused command passes."""
        talk = _ready(protocol, is_secure=is_secure)
        steps = _take(lambda part: refusing_server(protocol, talk, talk.from_client(part)), [data])
        other = _ready(protocol, is_secure=is_secure)
        again = _take(lambda part: refusing_server(protocol, other, other.from_client(part)), pieces(data))
        assert to_upstream(again) == to_upstream(steps)
        assert to_client(again) == to_client(steps)
        for step in steps:
            if isinstance(step, ToUpstream):
                _assert_one_command(protocol, step.data)

    return check


def _assert_one_command(protocol: MailProtocol, passed: bytes) -> None:
    """A server that ends lines at any CR, LF or NUL reads no second command."""
    if protocol is POP3:
        line = passed.removesuffix(b"\n").removesuffix(b"\r")
        assert not set(line) & {0, 10, 13}
    elif protocol in (SMTP, LMTP, SUBMISSION) and passed.endswith(b"\r\n") and passed.count(b"\n") == 1:
        assert not set(passed[:-2]) & {10, 13}
    elif protocol is IMAP and b"}" not in passed:
        assert not set(passed.removesuffix(b"\n").removesuffix(b"\r")) & {0, 10, 13}


def _replies(protocol: MailProtocol, commands: bytes) -> Callable[[bytes], None]:
    def check(data: bytes) -> None:
        """A mail server's bytes in any cut mean the same."""
        results = []
        for parts in ([data], pieces(data)):
            talk = _ready(protocol, is_secure=True)
            talk.from_client(commands)
            results.append(_take(talk.from_upstream, parts))
        whole, cut = results
        assert to_client(cut) == to_client(whole)
        assert [step for step in cut if isinstance(step, Ended)] == [step for step in whole if isinstance(step, Ended)]

    return check


def _greeting(protocol: MailProtocol) -> Callable[[bytes], None]:
    def check(data: bytes) -> None:
        """A server gets no more commands than it has answered, and the client nothing that was said in the clear."""
        needs_starttls = len(data) % 2 == 1
        opening = Opening(protocol.opening, "edge.test", needs_starttls=needs_starttls, client_awaits_greeting=True)
        steps = _take(opening.from_upstream, pieces(data))
        assert to_upstream(steps).count(b"\n") <= data.count(b"\n")
        if needs_starttls:
            assert not to_client(steps)
            assert not any(isinstance(step, Ready) for step in steps)

    return check


def check_text(data: bytes) -> None:
    """The end of a mail is CR LF . CR LF and nothing else, wherever the text is cut."""
    end = (b"\r\n" + data).find(b"\r\n.\r\n")
    text = data if end < 0 else data[: end + 3]
    bare = (b"\r\n" + text).replace(b"\r\n", b"")
    reader, taken = MessageText(), b""
    for piece in pieces(data):
        found = reader.feed(piece)
        taken += piece[: found.length]
        if found.verdict is not Verdict.MORE:
            break
    else:
        assert end < 0
        assert b"\n" not in bare
        assert b"\r" not in bare.removesuffix(b"\r")
        return
    if found.verdict is Verdict.END:
        assert taken == data[: end + 3]
        assert not set(bare) & {10, 13}
    else:
        assert set(bare) & {10, 13}


_WORDS = {
    "imap": words(
        'a b1 CAPABILITY NOOP LOGIN AUTHENTICATE PLAIN STARTTLS LOGOUT ID SELECT {3} {3+} {0+} abc "x" ( ) NIL'
        ' COMPRESS DEFLATE AHVzZXIAcGFzcw== * + \\ [ ] XAPPLEPUSHSERVICE "x-originating-ip"'
    ),
    "pop3": words("USER PASS APOP AUTH PLAIN STLS CAPA QUIT NOOP LANG XCLIENT user secret AHVzZXIA * ="),
    "sieve": words('AUTHENTICATE "PLAIN" STARTTLS NOOP LOGOUT CAPABILITY {3+} {12+} "x" abc LISTSCRIPTS XCLIENT \\ "'),
    "smtp": words(
        "EHLO HELO LHLO MAIL RCPT DATA BDAT RSET NOOP AUTH STARTTLS QUIT XCLIENT XFORWARD FROM:<a@b> TO:<c@d>"
        " 5 LAST . .. 0 PLAIN ETRN VRFY client.test BODY=8BITMIME"
    ),
}
_BREAKS = (b"\r\n", b"\r\n", b"\n", b"\r", b" ", b"\0", b"\t", b"\r\n.\r\n")
_SEEDS = {
    "imap": (
        b"a CAPABILITY\r\nb LOGIN user pass\r\n",
        b"a LOGIN {4}\r\nuser {4}\r\npass\r\n",
        b"a AUTHENTICATE PLAIN\r\nAHV=\r\n",
        b"a LOGIN {4+}\r\nuser {4+}\r\npass\r\n",
        b'a ID ("name" "x")\r\n',
        b'a LOGIN "us\\"er" "p"\r\nb STARTTLS\r\n',
    ),
    "pop3": (
        b"CAPA\r\nUSER user\r\nPASS pass\r\n",
        b"AUTH PLAIN\r\nAHVzZXIA\r\n",
        b"STLS\r\nQUIT\r\n",
        b"APOP user 0123456789\r\n",
    ),
    "sieve": (
        b'AUTHENTICATE "PLAIN" "AHVzZXIA"\r\n',
        b'AUTHENTICATE "PLAIN" {8+}\r\nAHVzZXIA\r\n',
        b'NOOP "x"\r\nNOOP {3+}\r\nabc\r\n',
        b"CAPABILITY\r\nSTARTTLS\r\n",
        b'PUTSCRIPT "x" {12+}\r\nLOGOUT\r\nNOOP\r\n',
    ),
    "smtp": (
        b"EHLO client.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n",
        b"BDAT 5 LAST\r\nhello",
        b"STARTTLS\r\n",
        b"LHLO x\r\nMAIL FROM:<>\r\nBDAT 3\r\nabcBDAT 0 LAST\r\n",
        b"AUTH PLAIN\r\nAHVzZXIA\r\n",
        b"NOOP\r\nRSET\r\nQUIT\r\n",
    ),
}
_REPLIES = {
    "imap": (
        b"a LOGIN x y\r\n",
        (
            b"* CAPABILITY IMAP4 STARTTLS X\r\na OK [CAPABILITY STARTTLS X] in\r\nmore",
            b"* ID {3}\r\nabc\r\na NO x\r\n",
            b"+ go\r\n* BAD x\r\n",
        ),
        words("* + a OK NO BAD CAPABILITY STARTTLS [ ] [CAPABILITY {3} abc BYE"),
    ),
    "pop3": (
        b"CAPA\r\n",
        (b"+OK\r\nUSER\r\nSTLS\r\n.\r\n", b"-ERR x\r\n", b"+ \r\n"),
        words("+OK -ERR + . STLS USER UIDL"),
    ),
    "sieve": (
        b'AUTHENTICATE "PLAIN" "AHV="\r\n',
        (b'"SIEVE" ""\r\n"STARTTLS"\r\nOK "x"\r\n', b"NO {3}\r\nabc\r\n", b'"chal"\r\n'),
        words('OK NO BYE "STARTTLS" {8} {8+} STARTTLS "x" {3} abc'),
    ),
    "smtp": (
        b"EHLO x\r\n",
        (b"250-mx\r\n250-PIPELINING\r\n250-STARTTLS\r\n250 CHUNKING\r\n", b"421 bye\r\n", b"500-x\r\n500 y\r\n"),
        words("250 250- 354 334 421 500 PIPELINING STARTTLS AUTH XCLIENT CHUNKING -"),
    ),
}


def _kind(name: str) -> str:
    return name if name in _WORDS else "smtp"


TARGETS = {
    **{
        f"{name}-before-tls": Target(_before_tls(protocol), _SEEDS[_kind(name)], _WORDS[_kind(name)] + _BREAKS)
        for name, protocol in _NAMES.items()
        if protocol.before_tls is not None
    },
    **{
        f"{name}-after-tls": Target(_after_tls(protocol), _SEEDS[_kind(name)], _WORDS[_kind(name)] + _BREAKS)
        for name, protocol in _NAMES.items()
    },
    "smtp-in-the-clear": Target(_after_tls(SMTP, is_secure=False), _SEEDS["smtp"], _WORDS["smtp"] + _BREAKS),
    **{
        f"{name}-replies": Target(_replies(_NAMES[name], commands), seeds, listed + _BREAKS)
        for name, (commands, seeds, listed) in _REPLIES.items()
    },
    **{
        f"{name}-greeting": Target(
            _greeting(_NAMES[name]),
            (b"* OK x\r\na OK x\r\n", b"+OK x\r\n+OK\r\n", b"220 x\r\n250 x\r\n", b'"SIEVE" ""\r\nOK\r\nOK\r\n'),
            listed + _BREAKS,
        )
        for name, (_, _, listed) in _REPLIES.items()
    },
    "mail-text": Target(
        check_text,
        (b"Subject: x\r\n\r\nhello\r\n.\r\nMAIL", b".\r\n", b"a\r\n..b\r\n.\r\n"),
        (b"\r\n", b"\n", b"\r", b".", b"..", b"\r\n.\r\n", b"\n.\n", b"\r.\r", b"x"),
        200,
    ),
}
