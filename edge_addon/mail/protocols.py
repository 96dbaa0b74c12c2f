"""Each mail protocol as one value that holds everything a session needs to know about it.

To add a protocol, add a value here, and a dialogue if none of the existing ones fits. No other module asks which
protocol it handles.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from certstore.model.settings.models import ListenerKind
from certstore.model.starttls import CLIENT_SIDES
from edge_addon.mail.commands import parse_tagged_command
from edge_addon.mail.dialogue import Dialogue
from edge_addon.mail.imap import ImapLogin
from edge_addon.mail.lines import Literals
from edge_addon.mail.opening import OpeningScript
from edge_addon.mail.pop3 import Pop3Login
from edge_addon.mail.sieve import SieveLogin
from edge_addon.mail.smtp import Handling, SmtpRelay, TransferRules
from edge_addon.mail.starttls import AUTH_BEFORE_TLS, COMMAND_BEFORE_TLS, Argument, Effect, Rule, Script


@dataclass(frozen=True, slots=True, eq=False)
class MailProtocol:
    """`goodbye_text` may contain `{host}` and `{why}`. All of them make a client keep its mail and try again later."""

    before_tls: Script | None
    """What the edge answers before STARTTLS; None if commands in the clear are passed to the mail server."""
    opening: OpeningScript
    dialogue: Callable[[bool], Dialogue]
    """Gets whether the client uses TLS, which a login always does."""
    goodbye_text: str
    too_long: str
    """The goodbye to a client that sent a line longer than any command."""
    has_login: bool = True
    """A login ends the dialogue and has a fixed deadline. Without one, each command or reply moves the deadline."""
    can_speak_unasked: bool = True
    """The server may send something that is not an answer, such as a goodbye."""

    def goodbye(self, host: str, why: str) -> bytes:
        """What the client gets when the edge ends its session. `why` is plain ASCII without quotes."""
        return self.goodbye_text.format(host=host, why=why).encode("ascii")

    @property
    def greets_again(self) -> bool:
        """Whether the server sends a second greeting after STARTTLS (ManageSieve, RFC 5804 §2.2)."""
        return self.opening.greeting_over_tls is None


def _by_name(names: Mapping[Handling, str]) -> dict[str, Handling]:
    return {name: handling for handling, listed in names.items() for name in listed.split()}


def _refused(answer: str, names: str) -> dict[str, Rule]:
    """The same refusal for each command that would authenticate."""
    return {name: Rule(answer, argument=Argument.ANY, refusal=AUTH_BEFORE_TLS) for name in names.split()}


IMAP = MailProtocol(
    before_tls=Script(
        greeting="* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] {host} ready for STARTTLS\r\n",
        rules={
            "CAPABILITY": Rule("* CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED\r\n{tag} OK Available before TLS\r\n"),
            "NOOP": Rule("{tag} OK Done\r\n"),
            "LOGOUT": Rule("* BYE Closing connection\r\n{tag} OK Logged out\r\n", Effect.CLOSE),
            "STARTTLS": Rule("{tag} OK Begin TLS\r\n", Effect.START_TLS),
            **_refused("{tag} NO [PRIVACYREQUIRED] Use STARTTLS first\r\n", "LOGIN AUTHENTICATE"),  # RFC 5530 §3
        },
        otherwise=Rule("{tag} BAD Not allowed before STARTTLS\r\n", argument=Argument.ANY, refusal=COMMAND_BEFORE_TLS),
        malformed=Rule("{tag} BAD Unknown command\r\n", refusal=COMMAND_BEFORE_TLS),
        parse=parse_tagged_command,
        literals=Literals.ON_REQUEST,
    ),
    opening=OpeningScript(CLIENT_SIDES[ListenerKind.IMAP], "* OK {host} ready\r\n", can_speak_unasked=True),
    dialogue=lambda _: ImapLogin(),
    goodbye_text="* BYE [UNAVAILABLE] {why}\r\n",  # RFC 5530 §3: a failure that passes
    too_long="* BYE Line too long\r\n",
)

POP3 = MailProtocol(
    before_tls=Script(
        greeting="+OK {host} ready for STLS\r\n",  # no time stamp: APOP is not for the clear (RFC 1939 §7)
        rules={
            "CAPA": Rule("+OK Available before TLS\r\nSTLS\r\nRESP-CODES\r\n.\r\n"),
            "QUIT": Rule("+OK Closing connection\r\n", Effect.CLOSE),
            "STLS": Rule("+OK Begin TLS\r\n", Effect.START_TLS),
            **_refused("-ERR Use STLS first\r\n", "USER PASS APOP AUTH"),
        },
        otherwise=Rule("-ERR Not allowed before STLS\r\n", argument=Argument.ANY, refusal=COMMAND_BEFORE_TLS),
        malformed=Rule("-ERR Unknown command\r\n", refusal=COMMAND_BEFORE_TLS),
    ),
    opening=OpeningScript(CLIENT_SIDES[ListenerKind.POP3], "+OK {host} ready\r\n"),
    dialogue=lambda _: Pop3Login(),
    goodbye_text="-ERR [SYS/TEMP] {why}\r\n",  # RFC 3206 §4
    too_long="-ERR Line too long\r\n",
    can_speak_unasked=False,
)

_SIEVE_CAPABILITIES = (
    '"IMPLEMENTATION" "mail edge"\r\n"SIEVE" ""\r\n"SASL" ""\r\n"STARTTLS"\r\n"VERSION" "1.0"\r\nOK "TLS is needed"\r\n'
)
"""RFC 5804 §1.7: SASL is empty because no mechanism is available; clients ask for SIEVE again after TLS."""

SIEVE = MailProtocol(
    before_tls=Script(
        greeting=_SIEVE_CAPABILITIES,
        rules={
            "CAPABILITY": Rule(_SIEVE_CAPABILITIES),
            "NOOP": Rule('OK "Done"\r\n', repeating='OK (TAG {argument}) "Done"\r\n'),  # RFC 5804 §2.13
            "LOGOUT": Rule('OK "Closing connection"\r\n', Effect.CLOSE),
            "STARTTLS": Rule('OK "Begin TLS"\r\n', Effect.START_TLS),
            **_refused('NO (ENCRYPT-NEEDED) "Use STARTTLS first"\r\n', "AUTHENTICATE"),  # RFC 5804 §1.3
        },
        otherwise=Rule('NO "Not allowed before STARTTLS"\r\n', argument=Argument.ANY, refusal=COMMAND_BEFORE_TLS),
        malformed=Rule('NO "Unknown command or invalid arguments"\r\n', refusal=COMMAND_BEFORE_TLS),
        literals=Literals.AT_ONCE,
    ),
    opening=OpeningScript(CLIENT_SIDES[ListenerKind.SIEVE], None),
    dialogue=lambda _: SieveLogin(),
    goodbye_text='BYE (TRYLATER) "{why}"\r\n',  # RFC 5804 §1.3
    too_long='BYE "Line too long"\r\n',
)

_MUST_STARTTLS = "530 5.7.0 Must issue a STARTTLS command first\r\n"  # RFC 3207 §4
_SHARED = {each: each.name for each in (Handling.DATA, Handling.BDAT, Handling.STARTTLS, Handling.QUIT)}

SMTP_RULES = TransferRules(
    # Only these pass: a private extension (XEXCH50, ATRN) could change the meaning of the bytes after it.
    handling=_by_name(
        {
            Handling.EHLO: "EHLO",
            Handling.HELO: "HELO",
            Handling.PASS: "MAIL RCPT RSET BURL",
            Handling.PASS_LAST: "NOOP VRFY EXPN HELP ETRN",
            Handling.AUTH: "AUTH",
        }
        | _SHARED
    ),
    refusals={
        "XCLIENT": "550 5.7.0 Not allowed\r\n",
        "XFORWARD": "550 5.7.0 Not allowed\r\n",
        "AUTH": _MUST_STARTTLS,
        "STARTTLS": "503 5.5.1 TLS is already active\r\n",
    },
    hidden=frozenset({"STARTTLS", "ATRN", "TURN"}),
    hidden_in_clear=frozenset({"AUTH", "REQUIRETLS"}),
)

SMTP = MailProtocol(
    before_tls=None,
    opening=OpeningScript(CLIENT_SIDES[ListenerKind.SMTP], "220 {host} ESMTP\r\n", Literals.NONE),
    dialogue=partial(SmtpRelay, SMTP_RULES),
    goodbye_text="421 4.3.2 {host} {why}\r\n",  # RFC 5321 §3.8, RFC 3463 §3.4
    too_long="500 5.5.2 Line too long\r\n",
    has_login=False,
)
"""Mail between servers, which passes in the clear too."""

LMTP_RULES = TransferRules(
    handling=_by_name(
        {
            Handling.EHLO: "LHLO",
            Handling.NEW_MAIL: "MAIL RSET",
            Handling.RCPT: "RCPT",
            Handling.PASS_LAST: "NOOP VRFY EXPN HELP",
        }
        | _SHARED
    ),
    refusals={name: SMTP_RULES.refusals[name] for name in ("XCLIENT", "XFORWARD", "STARTTLS")},
    hidden=SMTP_RULES.hidden | {"AUTH", "BURL", "ETRN"},
    hidden_in_clear=frozenset({"REQUIRETLS"}),
    replies_per_recipient=True,
)

LMTP = replace(
    SMTP,
    opening=OpeningScript(CLIENT_SIDES[ListenerKind.LMTP], "220 {host} LMTP\r\n", Literals.NONE),
    dialogue=partial(SmtpRelay, LMTP_RULES),
)

SUBMISSION = replace(
    SMTP,
    before_tls=Script(
        greeting="220 {host} ESMTP ready for STARTTLS\r\n",
        rules={
            "EHLO": Rule("250-{host}\r\n250-ENHANCEDSTATUSCODES\r\n250 STARTTLS\r\n", argument=Argument.REQUIRED),
            "NOOP": Rule("250 2.0.0 Done\r\n", argument=Argument.ANY),
            "QUIT": Rule("221 2.0.0 Closing connection\r\n", Effect.CLOSE),
            "STARTTLS": Rule("220 2.0.0 Begin TLS\r\n", Effect.START_TLS),
            **_refused(_MUST_STARTTLS, "AUTH"),
        },
        otherwise=Rule(_MUST_STARTTLS, argument=Argument.ANY, refusal=COMMAND_BEFORE_TLS),
        malformed=Rule("501 5.5.4 Unknown command or invalid arguments\r\n", refusal=COMMAND_BEFORE_TLS),
        is_strict=True,
    ),
)

PROTOCOLS: Mapping[ListenerKind, MailProtocol] = {
    ListenerKind.IMAP: IMAP,
    ListenerKind.IMAPS: IMAP,
    ListenerKind.POP3: POP3,
    ListenerKind.POP3S: POP3,
    ListenerKind.SMTP: SMTP,
    ListenerKind.LMTP: LMTP,
    ListenerKind.SUBMISSION: SUBMISSION,
    ListenerKind.SUBMISSIONS: SUBMISSION,
    ListenerKind.SIEVE: SIEVE,
}
