"""What the library says of a failure, in the words and the class that Python's `ssl` has."""

import ssl

from certstore.net.openssl import LIBRARY, NULL, ffi, lib, take_error
from certstore.net.tls_server import words_of


def test_an_error_has_the_library_s_words_and_leaves_nothing_behind() -> None:
    bio = lib.BIO_new_mem_buf(b"none", 4)
    try:
        assert lib.PEM_read_bio_X509(bio, NULL, NULL, NULL) == NULL
    finally:
        lib.BIO_free(bio)
    error = take_error("no certificate")
    assert isinstance(error, ssl.SSLError)
    assert (str(error), words_of(error), error.reason) == ("no start line",) * 2 + ("NO_START_LINE",)
    assert lib.ERR_get_error() == 0


def test_a_failure_without_words_has_those_of_the_caller() -> None:
    lib.ERR_clear_error()
    assert words_of(take_error("no certificate")) == "no certificate"


def test_the_library_is_that_of_the_bindings() -> None:
    assert LIBRARY.startswith(ffi.string(lib.OpenSSL_version(lib.OPENSSL_VERSION)).decode())
