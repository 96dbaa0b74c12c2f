"""Records that no TLS library sends, from a client that has made a handshake of TLS 1.3 with Python's `ssl`."""

from __future__ import annotations

import ssl
import struct
from contextlib import suppress
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

ALERT, HANDSHAKE, APPLICATION_DATA = 21, 22, 23
CLOSE_NOTIFY = b"\x01\x00"
KEY_UPDATE = b"\x18\x00\x00\x01\x01"
"""A whole message that asks for the same in return (RFC 8446 section 4.6.3)."""


class OddClient:
    """Over memory: `hello` and then `answer` until `is_ready`, then `record` makes what is to be sent."""

    def __init__(self, keylog: Path, server_name: str | None = None) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.keylog_filename = str(keylog)
        self._keylog = keylog
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name)
        self.is_ready = False

    def hello(self) -> bytes:
        return self.answer(b"")

    def answer(self, received: bytes) -> bytes:
        """What the handshake sends next."""
        self._incoming.write(received)
        with suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()
            self.is_ready = True
            self._take_keys()
        return self._outgoing.read()

    def record(self, content: bytes, kind: int) -> bytes:
        """Encrypted with the client's keys (section 5.2)."""
        inner = content + bytes([kind])
        head = b"\x17\x03\x03" + struct.pack("!H", len(inner) + 16)
        nonce = (int.from_bytes(self._iv) ^ self._sent).to_bytes(12)
        self._sent += 1
        return head + self._key.encrypt(nonce, inner, head)

    def key_update(self) -> bytes:
        """Asks for an answer; the client goes on with new keys (section 7.2)."""
        record = self.record(KEY_UPDATE, HANDSHAKE)
        self._use(_expand(self._digest, self._secret, b"traffic upd", self._digest.digest_size))
        return record

    def _take_keys(self) -> None:
        cipher = (self.tls.cipher() or ("", "", 0))[0]
        lines = [line.split() for line in self._keylog.read_text().splitlines()]
        secret = bytes.fromhex(next(line[2] for line in reversed(lines) if line[0] == "CLIENT_TRAFFIC_SECRET_0"))
        digest: hashes.HashAlgorithm = hashes.SHA384() if cipher.endswith("SHA384") else hashes.SHA256()
        self._digest, self._key_size = digest, 32 if "AES_256" in cipher else 16
        self._use(secret)

    def _use(self, secret: bytes) -> None:
        self._secret, self._sent = secret, 0
        self._key = AESGCM(_expand(self._digest, secret, b"key", self._key_size))
        self._iv = _expand(self._digest, secret, b"iv", 12)


def _expand(digest: hashes.HashAlgorithm, secret: bytes, label: bytes, size: int) -> bytes:
    """HKDF-Expand-Label (section 7.1)."""
    whole = b"tls13 " + label
    return HKDFExpand(digest, size, struct.pack("!HB", size, len(whole)) + whole + b"\x00").derive(secret)
