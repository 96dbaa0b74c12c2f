"""A web server that authenticates connections, as IIS does with NTLM: what comes after a login is the user's.

    with Recorder(authenticating()) as recorder: …

A login has two requests: `NTLM TYPE1` gets `401 NTLM TYPE2-<number>`, and `NTLM TYPE3-<name>-<number>` is accepted on
the same connection only. `/public` needs no login.
"""

from __future__ import annotations

import itertools

from tests.peers.recorder import Connection, Handler, ok

NUMBERS = itertools.count(1)


def refusal(*challenges: bytes) -> bytes:
    fields = b"".join(b"WWW-Authenticate: %b\r\n" % each for each in challenges)
    return b"HTTP/1.1 401 Unauthorized\r\n%bContent-Length: 0\r\n\r\n" % fields


def field_of(head: bytes, name: bytes) -> bytes:
    """The value of a field, empty if there is none."""
    for line in head.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.lower() == name:
            return value.strip()
    return b""


def authenticating(*, scheme: bytes = b"NTLM", offers: tuple[bytes, ...] = (b"Negotiate", b"NTLM")) -> Handler:
    """Serve `mailbox of <name>` to whoever has logged in on the connection."""

    async def handle(connection: Connection) -> None:
        user, awaited = b"", b""
        while True:
            head = await connection.read_head()
            if length := field_of(head, b"content-length"):
                size = int(length)
                while size:
                    size -= len(await connection.read(size))
            credentials = field_of(head, b"authorization")
            if head.split(b" ")[1] == b"/public":
                await connection.write(ok(b"public"))
            elif credentials == scheme + b" TYPE1":
                user, awaited = b"", b"%d" % next(NUMBERS)
                await connection.write(refusal(scheme + b" TYPE2-" + awaited))
            elif credentials.startswith(scheme + b" TYPE3-"):
                name, _, number = credentials.partition(b"TYPE3-")[2].partition(b"-")
                user, awaited = (name if number == awaited else b""), b""
                await connection.write(ok(b"mailbox of " + user) if user else refusal(*offers))
            else:
                await connection.write(ok(b"mailbox of " + user) if user else refusal(*offers))

    return handle
