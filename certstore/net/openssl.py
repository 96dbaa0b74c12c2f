"""The OpenSSL that `cryptography` brings, by its bindings: what we need of them, and what its errors say.

The bindings are made for pyOpenSSL and promise nothing to others. So every name is looked up here, once: where one is
missing, importing this module raises ImportError, and `tls_engine` takes Python's `ssl` instead. Nothing here is
serving anybody yet.
"""

from __future__ import annotations

import ssl
from typing import Any

import cryptography
from cryptography.hazmat.bindings.openssl.binding import Binding

NEEDED = (
    "BIO_free", "BIO_get_mem_data", "BIO_new", "BIO_new_mem_buf", "BIO_read", "BIO_s_mem", "BIO_write",
    "ERR_clear_error", "ERR_get_error", "ERR_lib_error_string", "ERR_reason_error_string",
    "EVP_PKEY_free", "EVP_PKEY_id", "OPENSSL_VERSION", "OpenSSL_version",
    "PEM_read_bio_PrivateKey", "PEM_read_bio_X509",
    "SSL_CTX_free", "SSL_CTX_new", "SSL_CTX_set_alpn_select_cb", "SSL_CTX_set_cipher_list", "SSL_CTX_set_ciphersuites",
    "SSL_CTX_set_min_proto_version", "SSL_CTX_set_mode", "SSL_CTX_set_options", "SSL_CTX_set_session_cache_mode",
    "SSL_CTX_set_session_id_context", "SSL_CTX_use_certificate_chain_file",
    "SSL_ERROR_SSL", "SSL_ERROR_WANT_READ", "SSL_ERROR_ZERO_RETURN",
    "SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER", "SSL_MODE_AUTO_RETRY", "SSL_MODE_RELEASE_BUFFERS",
    "SSL_OP_CIPHER_SERVER_PREFERENCE", "SSL_OP_NO_COMPRESSION", "SSL_OP_NO_RENEGOTIATION", "SSL_OP_NO_TICKET",
    "SSL_SESS_CACHE_OFF", "SSL_TLSEXT_ERR_NOACK", "SSL_TLSEXT_ERR_OK",
    "SSL_do_handshake", "SSL_free", "SSL_get0_alpn_selected", "SSL_get_error", "SSL_new", "SSL_pending", "SSL_read",
    "SSL_set_accept_state", "SSL_set_bio", "SSL_shutdown", "SSL_use_PrivateKey", "SSL_use_certificate", "SSL_version",
    "SSL_write", "TLS1_2_VERSION", "TLS1_3_VERSION", "TLS_server_method", "X509_free", "X509_get_pubkey",
)  # fmt: skip

ffi: Any = Binding.ffi
lib: Any = Binding.lib
NULL: Any = ffi.NULL

if _missing := [name for name in NEEDED if not hasattr(lib, name)]:
    raise ImportError(f"cryptography {cryptography.__version__} does not bind {', '.join(_missing)}")

LIBRARY = f"{ffi.string(lib.OpenSSL_version(lib.OPENSSL_VERSION)).decode()}, cryptography {cryptography.__version__}"
"""The releases in use, for people and for verdicts that depend on them."""


def take_error(what: str) -> ssl.SSLError:
    """What the library says last of a call that has failed, as Python's `ssl` would raise it; `what` if it says
    nothing. The library's list of errors, which belongs to the thread, is empty afterwards.
    """
    last = 0
    while code := lib.ERR_get_error():
        last = code
    reason = _text(lib.ERR_reason_error_string(last)) if last else ""
    error = ssl.SSLError(ssl.SSL_ERROR_SSL, reason or what)
    error.reason = (reason or what).upper().replace(" ", "_")
    error.library = _text(lib.ERR_lib_error_string(last)) if last else ""
    return error


def _text(name: Any) -> str:
    return "" if name == NULL else ffi.string(name).decode("ascii", "replace")
