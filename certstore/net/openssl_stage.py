"""One server connection's TLS on OpenSSL, over memory: feed what the peer sent, take what must be sent. No I/O.

The owner of every object is plain: the connection (`SSL`) belongs to the stage and is freed with it, and owns both
queues of bytes (`BIO`) from the moment on that it has them. The library takes its own references to the certificate,
the key and the context, so a stage outlives whatever it was made from.

An idle connection takes 25 KB, 5 KB more than with OpenSSL 3.0: since 3.2 each direction has a record layer of its own,
with room for 32 parallel records (4.4 KB each). Their buffers of 16 KB are given back (SSL_MODE_RELEASE_BUFFERS).
"""

from __future__ import annotations

import ssl
from collections.abc import Buffer
from typing import Any

from certstore.net.openssl import NULL, ffi, lib, take_error
from certstore.net.openssl_credentials import SESSION_CONTEXT_BYTES, Credentials
from certstore.net.tls_server import RECORD

_BUFFER = 24 * 1024
"""Bytes taken out at once: a full record with its head and tag, and what is small beside it."""
_RETAINED = 1024
"""A queue that has held more than this during the handshake gives its memory back."""

_WANT_READ: int = lib.SSL_ERROR_WANT_READ
_CLOSED: int = lib.SSL_ERROR_ZERO_RETURN
_VERSIONS = {int(lib.TLS1_2_VERSION): "TLSv1.2", int(lib.TLS1_3_VERSION): "TLSv1.3"}
_MEMORY = lib.BIO_s_mem()

# Looked up once: these run for every record.
_clear_error = lib.ERR_clear_error
_take, _put, _held = lib.BIO_read, lib.BIO_write, lib.BIO_get_mem_data
_do_handshake, _read, _write, _pending = lib.SSL_do_handshake, lib.SSL_read, lib.SSL_write, lib.SSL_pending
_get_error = lib.SSL_get_error
_from_buffer = ffi.from_buffer


class Scratch:
    """Memory that calls of one thread share, as its stages take turns."""

    __slots__ = ("buffer", "length", "pointer", "selected", "view")

    def __init__(self) -> None:
        self.buffer = ffi.new("char[]", _BUFFER)
        self.view = ffi.buffer(self.buffer)
        self.pointer = ffi.new("char **")
        self.selected = ffi.new("unsigned char **")
        self.length = ffi.new("unsigned int *")


class OpenSslStage:
    """The same face as `transport.tls_stage.TlsStage` has for a server.

    `handshake` and `read` raise `ssl.SSLWantReadError` when they need more data. They and `write` raise `ssl.SSLError`
    when the peer violates the protocol, and `output` then returns the alert.
    """

    __slots__ = ("_incoming", "_is_grown", "_outgoing", "_scratch", "_ssl")

    def __init__(self, context: Any, credentials: Credentials, scratch: Scratch) -> None:
        """Raises ssl.SSLError, MemoryError."""
        _clear_error()
        # SSL_new copies it; there is no call that sets it on a connection.
        if lib.SSL_CTX_set_session_id_context(context, credentials.session_context, SESSION_CONTEXT_BYTES) != 1:
            raise take_error("no session context")
        connection = lib.SSL_new(context)
        if connection == NULL:
            raise _no_memory()
        self._ssl = connection = ffi.gc(connection, lib.SSL_free)
        incoming, outgoing = lib.BIO_new(_MEMORY), lib.BIO_new(_MEMORY)
        if NULL in {incoming, outgoing}:
            lib.BIO_free(incoming)  # which does nothing to NULL
            lib.BIO_free(outgoing)
            raise _no_memory()
        lib.SSL_set_bio(connection, incoming, outgoing)
        self._incoming, self._outgoing, self._scratch = incoming, outgoing, scratch
        self._is_grown = False
        for pair in credentials.pairs:
            if lib.SSL_use_certificate(connection, pair.certificate) != 1:
                raise take_error("the certificate does not load")
            if lib.SSL_use_PrivateKey(connection, pair.key) != 1:
                raise take_error("key values mismatch")
        lib.SSL_set_accept_state(connection)

    def feed(self, data: Buffer) -> int:
        whole = data if type(data) is bytes else bytes(data)
        if _put(self._incoming, whole, len(whole)) != len(whole):
            raise _no_memory()
        return len(whole)

    def output(self) -> bytes:
        """All bytes that must be sent now, perhaps none."""
        scratch = self._scratch
        size = _take(self._outgoing, scratch.buffer, _BUFFER)
        if self._is_grown:
            self._shrink()
        if size <= 0:
            return b""
        if size < _BUFFER:
            return scratch.view[:size]  # type: ignore[no-any-return]
        parts = [scratch.view[:size]]
        while (size := _take(self._outgoing, scratch.buffer, _BUFFER)) > 0:
            parts.append(scratch.view[:size])
        return b"".join(parts)

    def _shrink(self) -> None:
        """Queues keep the memory of the most that they have held, for a handshake some kilobytes each: begin anew."""
        self._is_grown = False
        pointer = self._scratch.pointer
        for_input = for_output = NULL
        if _held(self._incoming, pointer) == 0 and (for_input := lib.BIO_new(_MEMORY)) != NULL:
            self._incoming = for_input
        if _held(self._outgoing, pointer) == 0 and (for_output := lib.BIO_new(_MEMORY)) != NULL:
            self._outgoing = for_output
        # The connection frees each that is replaced, and takes over what replaces it.
        lib.SSL_set_bio(self._ssl, self._incoming, self._outgoing)

    def handshake(self) -> None:
        _clear_error()  # SSL_get_error asks for an empty list, and other users of this library may leave something
        result = _do_handshake(self._ssl)
        if result == 1:
            self._is_grown = True
            return
        if _get_error(self._ssl, result) == _WANT_READ:
            raise ssl.SSLWantReadError(_WANT_READ, "the handshake needs more")
        raise take_error("the handshake fails")

    @property
    def version(self) -> str | None:
        """`TLSv1.2` or `TLSv1.3`; before the handshake it is the highest that is possible."""
        return _VERSIONS.get(lib.SSL_version(self._ssl))

    @property
    def alpn(self) -> str | None:
        scratch = self._scratch
        lib.SSL_get0_alpn_selected(self._ssl, scratch.selected, scratch.length)
        size = scratch.length[0]
        return str(ffi.buffer(scratch.selected[0], size)[:], "ascii") if size else None

    def read(self) -> bytes:
        """The plaintext of one record; b"" once the peer has closed with close_notify."""
        scratch = self._scratch
        _clear_error()
        size = _read(self._ssl, scratch.buffer, RECORD)
        if size > 0:
            return scratch.view[:size]  # type: ignore[no-any-return]
        reason = _get_error(self._ssl, size)
        if reason == _WANT_READ:
            raise ssl.SSLWantReadError(_WANT_READ, "there is no whole record")
        if reason == _CLOSED:
            return b""
        raise take_error("the record is broken")

    @property
    def may_have_more(self) -> bool:
        """False when another `read` would only raise SSLWantReadError; avoids that exception on nearly every read."""
        return bool(_held(self._incoming, self._scratch.pointer) > 0 or _pending(self._ssl) > 0)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt all of `data`, in as many records as it takes."""
        size = len(data)
        if size:
            _clear_error()
            # Without SSL_MODE_ENABLE_PARTIAL_WRITE it is all or nothing, and a queue in memory takes all.
            if _write(self._ssl, data if type(data) is bytes else _from_buffer(data), size) != size:
                raise take_error("nothing can be sent")

    def close_notify(self) -> None:
        """Queue close_notify (RFC 8446 §6.1), without waiting for the peer's."""
        lib.SSL_shutdown(self._ssl)
        _clear_error()  # of an incomplete handshake, say: there is nothing more to send


def _no_memory() -> MemoryError:
    _clear_error()
    return MemoryError("OpenSSL has no memory for a connection")
