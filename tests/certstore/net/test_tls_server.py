"""How a pair's files get into a listener's context; `store/test_trial` has the table of what the library takes."""

import errno
import os
import pty
import ssl
from pathlib import Path

import pytest

from certstore.net.tls_server import load_pair, load_version, server_context, words_of
from tests.certificates import CertificateAuthority

CA = CertificateAuthority()
ONE = CA.issue("a.test")


def test_a_version_has_one_pair_or_two(tmp_path: Path) -> None:
    ONE.write_to(tmp_path)
    load_version(server_context(), tmp_path)
    rsa = CA.issue("a.test", key_type="rsa2048")
    (tmp_path / "fullchain-rsa.pem").write_bytes(rsa.fullchain_pem)
    (tmp_path / "privkey-rsa.pem").write_bytes(rsa.privkey_pem)
    load_version(server_context(), tmp_path)
    (tmp_path / "privkey-rsa.pem").write_bytes(CA.issue("a.test", key_type="rsa2048").privkey_pem)
    with pytest.raises(ssl.SSLError):
        load_version(server_context(), tmp_path)


def test_a_key_with_a_password_is_refused_and_nobody_is_asked_for_it(tmp_path: Path) -> None:
    """On a terminal OpenSSL would ask, and the whole worker wait for an answer."""
    (tmp_path / "chain").write_bytes(ONE.fullchain_pem)
    (tmp_path / "key").write_bytes(ONE.encrypted_privkey_pem(b"word"))
    child, terminal = pty.fork()
    if child == 0:
        try:
            load_pair(server_context(), tmp_path / "chain", tmp_path / "key")
        except OSError:
            os._exit(3)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
    os.close(terminal)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.EACCES, "Permission denied"), "permission denied"),
        (OSError(), "oserror"),
        (ssl.SSLError(1, "[SSL] PEM lib (_ssl.c:3917)"), "pem lib"),
        (ssl.SSLError(1, "it does not end"), "it does not end"),
    ],
)
def test_words_of_an_error(error: OSError, words: str) -> None:
    assert words_of(error) == words
