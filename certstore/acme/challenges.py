"""Key authorizations where the edge's workers find them (RFC 8555 §8.3), and a look at them from outside.

A token's file appears whole, by rename, and is gone when its order is. Before the CA is told to look, we look ourselves
through our own port 80 listener. Knows nothing of orders.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import socket
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from certstore.files.atomic import replace_file
from certstore.model.layout import Layout
from certstore.model.renewal.failure import Cause, Failure
from certstore.model.settings.models import HostPort, ListenerKind, Settings

WELL_KNOWN = "/.well-known/acme-challenge/"
PREFLIGHT_MARK = "certedge-preflight."
"""How the content of a preflight's own token begins; no key authorization does, as its token is random."""
_TIMEOUT_SECONDS = 5.0
_ANSWER_LIMIT = 4096
# PROXY protocol v2, command LOCAL: "this connection is my own, nobody's behind it".
_PROXY_LOCAL = b"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"


@dataclass(frozen=True, slots=True)
class OwnListener:
    """Where our own http listener is reached from this machine."""

    address: HostPort
    wants_proxy_header: bool = False


class Challenges:
    """The folder of tokens. Writing is the writer's alone. Raises OSError."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def is_token(self, token: str) -> bool:
        return self._layout.challenge(token) is not None

    @contextlib.contextmanager
    def shown(self, authorizations: Sequence[tuple[str, str]], kept: Collection[str] = ()) -> Iterator[None]:
        """(token, key authorization) pairs are answered for as long as this lasts, whatever ends it; `kept` ones on."""
        with self.hidden_after([token for token, _ in authorizations if token not in kept]):
            for token, key_authorization in authorizations:
                self.show(token, key_authorization)
            yield

    @contextlib.contextmanager
    def hidden_after(self, tokens: Sequence[str]) -> Iterator[None]:
        """Those of the tokens that are shown are not any more when this ends, whatever ends it."""
        try:
            yield
        finally:
            for token in tokens:
                self.hide(token)

    def show(self, token: str, key_authorization: str) -> None:
        path = self._layout.challenge(token)
        if path is None:
            raise ValueError("not a token")
        # Workers that run as another user than control read it: it is public by its nature.
        replace_file(path, key_authorization.encode("ascii"), 0o644, self._layout.temporary, is_durable=False)

    def hide(self, token: str) -> None:
        path = self._layout.challenge(token)
        if path is not None:
            path.unlink(missing_ok=True)

    def sweep(self, thumbprints: Collection[str], needed: Collection[str] = ()) -> int:
        """Remove what a kill left behind, but for the tokens that are `needed`; how many. Only while no order runs.

        Other ACME clients may show their tokens here too: ours are those that end in the thumbprint of an account of
        ours (RFC 8555 §8.1), and those of a preflight.
        """
        shown = [path for path in self._layout.challenges.iterdir() if path.name not in needed]
        left = [path for path in shown if self._is_ours(path, thumbprints)]
        for path in left:
            path.unlink(missing_ok=True)
        return len(left)

    def _is_ours(self, path: Path, thumbprints: Collection[str]) -> bool:
        if not self.is_token(path.name) or path.is_symlink() or not path.is_file():
            return False
        with path.open("rb") as file:
            content = file.read(_ANSWER_LIMIT).decode("ascii", "replace")
        return content.startswith(PREFLIGHT_MARK) or content.partition(".")[2] in thumbprints


def own_listeners(settings: Settings) -> tuple[OwnListener, ...]:
    """Our http listeners, as this machine reaches them; those on a port that the system chose can't be known."""
    return tuple(
        OwnListener(
            _reachable(listener.listen), listener.accept_proxy_protocol and _is_trusted(listener.listen, settings)
        )
        for listener in settings.listeners
        if listener.kind is ListenerKind.HTTP and listener.listen.port
    )


def look_at_own(listeners: Sequence[OwnListener], name: str, token: str, key_authorization: str) -> Failure | None:
    """Fetch the token as the CA will, from the first listener that answers rightly; None when one does.

    Without any http listener of ours somebody else has port 80 and forwards to us: only the CA can tell then.
    """
    seen = []
    for listener in listeners:
        try:
            status, body = _fetch(listener, name, token)
        except (OSError, http.client.HTTPException) as error:
            seen.append(f"{listener.address}: {str(error) or type(error).__name__}")
            continue
        if status == http.client.OK and body == key_authorization.encode("ascii"):
            return None
        seen.append(f"{listener.address}: it answers {status}, and not what it should")
    if not seen:
        return None
    detail = f"our own listener does not answer the challenge for {name} ({'; '.join(seen)})"
    return Failure(Cause.OWN_LISTENER, detail)


def _fetch(listener: OwnListener, name: str, token: str) -> tuple[int, bytes]:
    host, port = listener.address
    connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT_SECONDS)
    with contextlib.closing(connection):
        connection.connect()
        if listener.wants_proxy_header:
            own: socket.socket = connection.sock
            own.sendall(_PROXY_LOCAL)
        connection.request("GET", WELL_KNOWN + token, headers={"Host": name, "User-Agent": "certedge"})
        response = connection.getresponse()
        return response.status, response.read(_ANSWER_LIMIT)


def _reachable(listen: HostPort) -> HostPort:
    try:
        address = ipaddress.ip_address(listen.host)
    except ValueError:
        return listen
    if not address.is_unspecified:
        return listen
    return HostPort("127.0.0.1" if address.version == 4 else "::1", listen.port)


def _is_trusted(listen: HostPort, settings: Settings) -> bool:
    """Whether the listener takes a header from us, who come from the address that we connect to."""
    try:
        address = ipaddress.ip_address(_reachable(listen).host)
    except ValueError:
        return False
    return any(address in network for network in settings.trusted_proxies)


SelfCheck = Callable[[str, str, str], Failure | None]
"""name, token, key authorization: what `look_at_own` says of them."""
