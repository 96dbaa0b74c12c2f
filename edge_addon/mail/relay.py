"""One client's mail session: moves bytes between client and mail server and carries out what the dialogues decide.

Each stage has its dialogue: `starttls` before TLS, where the edge answers alone; `opening` until the upstream is ready;
then `imap`, `pop3` or `sieve` up to the login, or `smtp` to the end. What may pass is decided there, not here.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from enum import Enum

from certstore.model.settings.models import ProxyProtocol
from edge_addon.mail.dialogue import (
    LINE_TOO_LONG,
    TOO_MANY_REFUSALS,
    Action,
    Count,
    Dialogue,
    Ended,
    Ready,
    Step,
    ToClient,
    ToUpstream,
)
from edge_addon.mail.opening import Opening
from edge_addon.mail.protocols import PROTOCOLS, MailProtocol
from edge_addon.mail.starttls import BeforeTls
from edge_addon.mail.upstream import TLS_FAILED, UNREACHABLE, UpstreamLeg
from edge_addon.plane.access_log import AccessEntry
from edge_addon.plane.data_plane import DataPlane
from edge_addon.transport.channel import Channel
from edge_addon.transport.proxy_protocol import build_v1, build_v2
from edge_addon.transport.timers import Timer

HOLD_LIMIT = 128 * 1024
"""The edge stops reading from a client with more unprocessed bytes than this: more than any command has."""
OPENING_SECONDS = 30.0
"""From connecting to the upstream's greeting, which some servers delay on purpose."""
LOGIN_SECONDS = 180.0
"""From the end of the TLS handshake to the login, and from connecting to STARTTLS: the usual value of mail servers.
Commands do not extend it, because a client that trickles them could hold its connection indefinitely. After the login
`mail_idle_seconds` of silence are allowed.
"""
SMTP_SECONDS = 300.0
"""The longest silence (RFC 5321 §4.5.3.2.7), and the longest time until a STARTTLS that is required."""
HALF_CLOSED_SECONDS = 60.0
DRAIN_LEAD_SECONDS = 2.0
"""Goodbyes are sent this long before the drain deadline closes the remaining connections."""

IDLE = "mail_idle"
OPENING_TIMED_OUT = "mail_upstream_timed_out"
DRAINED = "drained"

_WHY = {
    IDLE: "Idle for too long",
    DRAINED: "Restarting, please try again",
    TOO_MANY_REFUSALS: "Too many refused commands",
}
_CANT_BE_USED = {UNREACHABLE: "it can't be reached", TLS_FAILED: "TLS with it fails"}
_WHY_ELSE = "Mail server not available, please try again later"


class Stage(Enum):
    """`BEFORE_TLS` → `HANDSHAKE` → `OPENING` → `DIALOGUE` → `TUNNEL`, and from each of them to `FINISHED`.

    Implicit TLS, and mail that may go on in the clear, begin with `OPENING`. STARTTLS leads from `DIALOGUE` back to
    `HANDSHAKE`. Without a login there is no `TUNNEL`.
    """

    BEFORE_TLS = 0
    """The edge answers alone."""
    HANDSHAKE = 1
    """STARTTLS is under way: nothing can be written, least of all in the clear."""
    OPENING = 2
    """The edge connects to the upstream. What the client sends meanwhile waits in the dialogue."""
    DIALOGUE = 3
    """The dialogue watches every command and reply."""
    TUNNEL = 4
    """Bytes pass untouched."""
    FINISHED = 5


@dataclass(slots=True, eq=False, repr=False)
class MailSession:
    """The `Session` of every mail listener."""

    _channel: Channel
    _plane: DataPlane
    _: KW_ONLY
    _protocol: MailProtocol = field(init=False)
    _host: str = field(init=False)
    _stage: Stage = field(init=False)
    _dialogue: Dialogue | None = None
    """From `BEFORE_TLS` to `DIALOGUE`, but not during a handshake."""
    _opening: Opening | None = None
    """Only in `OPENING`."""
    _leg: UpstreamLeg | None = None
    _has_end_to_pass: bool = False
    """The client will send nothing more, and the upstream has yet to learn it."""
    _is_client_full: bool = False
    _is_upstream_full: bool = False
    _is_reading_paused: bool = False
    _ends_with_newline: bool = True
    """No line to the client is half sent."""
    _bytes_in: int = 0
    _bytes_out: int = 0
    _outcome: str | None = None
    _opening_since: float = field(init=False)
    _upstream_duration: float | None = None
    _idle_seconds: float = field(init=False)
    _timer: Timer = field(init=False)
    _drain_timer: Timer | None = None
    """Set from the first `drain` on."""

    def __post_init__(self) -> None:
        channel, plane = self._channel, self._plane
        self._protocol = PROTOCOLS[channel.listener.kind]
        self._host = plane.snapshot.main.host
        limit = LOGIN_SECONDS if self._protocol.has_login else SMTP_SECONDS
        self._idle_seconds = min(limit, plane.settings.limits.mail_idle_seconds)
        self._timer = plane.timers.timer()
        if channel.secure or self._protocol.before_tls is None:
            self._open_upstream(client_awaits_greeting=True)
        else:
            self._stage = Stage.BEFORE_TLS
            self._dialogue = dialogue = BeforeTls(self._protocol.before_tls, self._host)
            self._perform(dialogue.greet())
            self._touch()

    # From the client's connection.

    @property
    def is_idle(self) -> bool:
        return self._leg is None

    @property
    def idle_since(self) -> float | None:
        """A mail client does not expect to lose an idle connection, and has nothing that would open it again."""
        return None

    def data_received(self, data: bytes) -> None:
        if self._stage is Stage.FINISHED:
            return
        self._bytes_in += len(data)
        if self._leg is not None and self._stage is Stage.TUNNEL:
            self._touch()
            self._leg.write(data)
        elif self._dialogue is not None:
            self._note_activity()
            self._perform(self._dialogue.from_client(data))
            self._regulate()

    def eof_received(self) -> None:
        if self._stage is Stage.FINISHED:
            return
        self._has_end_to_pass = True
        if self._leg is None:
            self._finish()
        else:
            self._pass_end_on()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._stage is not Stage.FINISHED:
            self._outcome = self._outcome or ("client_gone" if exc is not None else None)
        self._release()
        self._write_access_log()

    def pause_writing(self) -> None:
        self._is_client_full = True
        if self._leg is not None:
            self._leg.read(is_wanted=False)
        self._regulate()

    def resume_writing(self) -> None:
        self._is_client_full = False
        if self._leg is not None:
            self._leg.read(is_wanted=True)
        self._regulate()

    def tls_established(self) -> None:
        self._open_upstream(client_awaits_greeting=self._protocol.greets_again)

    def drain(self) -> None:
        """Let a session with a mail server go on until just before the deadline; end one without at once."""
        if self._drain_timer is not None or self._stage is Stage.FINISHED:
            return
        self._drain_timer = self._plane.timers.timer()
        if self._leg is None:
            self._end(Ended(DRAINED))
        else:
            seconds = max(self._plane.settings.limits.drain_seconds - DRAIN_LEAD_SECONDS, 0)
            self._drain_timer.set(seconds, lambda: self._end(Ended(DRAINED)))

    # From the upstream's connection.

    def upstream_connected(self) -> None:
        if self._leg is not None and self._is_client_full:
            self._leg.read(is_wanted=False)

    def upstream_secured(self) -> None:
        if self._opening is not None:
            self._perform(self._opening.tls_established())

    def upstream_received(self, data: bytes) -> None:
        if self._stage is Stage.TUNNEL:
            self._touch()
            self._write(data)
        elif self._opening is not None:
            self._perform(self._opening.from_upstream(data))
        elif self._dialogue is not None:
            self._note_activity()
            self._perform(self._dialogue.from_upstream(data))
        self._regulate()
        if self._has_end_to_pass:
            self._pass_end_on()

    def upstream_lost(self, cause: str) -> None:
        if cause in _CANT_BE_USED:
            self._plane.mail_upstreams.failed(str(self._channel.listener.upstream), _CANT_BE_USED[cause])
        if self._stage is Stage.FINISHED:
            return
        is_answered = self._dialogue is None or not self._dialogue.owes_answer
        if self._stage is not Stage.OPENING and is_answered:
            self._finish()
        else:
            self._end(Ended(cause))

    def upstream_full(self, *, is_full: bool) -> None:
        self._is_upstream_full = is_full
        self._regulate()

    # Carrying out the steps.

    def _perform(self, steps: list[Step]) -> None:
        for step in steps:
            if self._stage is Stage.FINISHED:
                return
            match step:
                case ToClient(data):
                    self._write(data)
                case ToUpstream(data):
                    if self._leg is not None:
                        self._leg.write(data)
                case Count(cause):
                    self._plane.count(cause)
                case Ended():
                    self._end(step)
                case Ready():
                    self._begin_dialogue(step)
                case Action():
                    self._act(step)

    def _act(self, action: Action) -> None:
        match action:
            case Action.START_TLS:
                self._start_tls()
            case Action.START_UPSTREAM_TLS:
                if self._leg is not None:
                    self._leg.start_tls()
            case Action.TUNNEL:
                self._stage = Stage.TUNNEL
                self._dialogue = None
                self._idle_seconds = self._plane.settings.limits.mail_idle_seconds
                self._touch()
            case Action.CLOSE:
                self._finish()

    def _start_tls(self) -> None:
        """Forget everything sent so far, and close the upstream that may have received some of it."""
        self._stage = Stage.HANDSHAKE
        self._dialogue = None
        if self._leg is not None:
            self._leg.write(b"QUIT\r\n")  # only SMTP and LMTP have an upstream here, and every command is answered
            self._leg.close()
            self._leg = None
        self._is_upstream_full = False
        self._regulate()
        self._channel.start_tls()

    def _open_upstream(self, *, client_awaits_greeting: bool) -> None:
        channel = self._channel
        listener = channel.listener
        self._stage = Stage.OPENING
        self._dialogue = self._protocol.dialogue(channel.secure)
        self._opening = Opening(
            self._protocol.opening,
            self._host,
            needs_starttls=listener.upstream_tls.begins_starttls(is_client_secure=channel.secure),
            client_awaits_greeting=client_awaits_greeting,
        )
        header = b""
        if listener.proxy_protocol is ProxyProtocol.V1:
            header = build_v1(channel.client, channel.local)
        elif listener.proxy_protocol is ProxyProtocol.V2:
            header = build_v2(
                channel.client, channel.local, tls_version=channel.tls_version, server_name=channel.server_name
            )
        self._leg = UpstreamLeg(self, self._plane.loop, listener, self._plane.base)
        self._opening_since = self._plane.loop.time()
        self._timer.set(OPENING_SECONDS, self._overdue)
        self._leg.open(header)

    def _begin_dialogue(self, ready: Ready) -> None:
        self._stage = Stage.DIALOGUE
        self._opening = None
        self._upstream_duration = self._plane.loop.time() - self._opening_since
        self._plane.mail_upstreams.works(str(self._channel.listener.upstream))
        self._touch()
        if self._dialogue is not None:
            self._perform(self._dialogue.upstream_ready(ready.greeting))
        if self._dialogue is not None and ready.rest:
            self._perform(self._dialogue.from_upstream(ready.rest))

    def _write(self, data: bytes) -> None:
        if data:
            self._bytes_out += len(data)
            self._ends_with_newline = data.endswith(b"\n")
            self._channel.write(data)

    def _regulate(self) -> None:
        """Read from the client only while its bytes can be passed on or held, and answers to it can be sent."""
        dialogue = self._dialogue
        must_pause = self._is_upstream_full or (
            dialogue is not None and (self._is_client_full or dialogue.held > HOLD_LIMIT)
        )
        if must_pause is self._is_reading_paused or self._stage is Stage.FINISHED:
            return
        self._is_reading_paused = must_pause
        if must_pause:
            self._channel.pause_reading()
        else:
            self._channel.resume_reading()

    def _pass_end_on(self) -> None:
        """Tell the upstream that the client sends nothing more, once everything held has been passed on."""
        if self._leg is None or self._stage not in {Stage.DIALOGUE, Stage.TUNNEL}:
            return
        if self._dialogue is not None and self._dialogue.held:
            return
        self._has_end_to_pass = False
        self._idle_seconds = min(self._idle_seconds, HALF_CLOSED_SECONDS)
        self._touch()
        if not self._leg.write_eof():
            self._finish()

    # Deadlines and endings.

    def _note_activity(self) -> None:
        """A command or reply came in a dialogue, which moves the deadline unless it is that of a login."""
        if self._stage is Stage.DIALOGUE and not self._protocol.has_login:
            self._touch()

    def _touch(self) -> None:
        self._timer.set(self._idle_seconds, self._overdue)

    def _overdue(self) -> None:
        self._end(Ended(OPENING_TIMED_OUT if self._stage is Stage.OPENING else IDLE))

    def _end(self, ended: Ended) -> None:
        """Close, with a goodbye unless it would land inside an answer or POP3 does not allow one."""
        if self._stage is Stage.FINISHED:
            return
        self._outcome = ended.cause
        self._plane.count(ended.cause)
        is_unasked = self._stage is Stage.TUNNEL and not self._protocol.can_speak_unasked
        if self._ends_with_newline and not is_unasked and self._stage is not Stage.HANDSHAKE:
            self._write(ended.answer or self._goodbye(ended.cause))
        self._finish()

    def _goodbye(self, cause: str) -> bytes:
        if cause == LINE_TOO_LONG:
            return self._protocol.too_long.encode("ascii")
        return self._protocol.goodbye(self._host, _WHY.get(cause, _WHY_ELSE))

    def _finish(self) -> None:
        self._release()
        self._channel.close()

    def _release(self) -> None:
        self._stage = Stage.FINISHED
        self._dialogue = self._opening = None
        self._timer.cancel()
        if self._drain_timer is not None:
            self._drain_timer.cancel()
        if self._leg is not None:
            self._leg.close()

    def _write_access_log(self) -> None:
        entry = AccessEntry.of(self._channel)
        entry.bytes_in, entry.bytes_out = self._bytes_in, self._bytes_out
        entry.upstream = str(self._channel.listener.upstream) if self._leg is not None else None
        entry.duration = self._plane.loop.time() - self._channel.opened
        entry.upstream_duration = self._upstream_duration
        entry.outcome = self._outcome
        self._plane.access_log.write(entry)
