"""The trial says what the serving library does: a table of odd pairs, each tried and then really served to clients.

Beside it, the bounds of the process that tries.
"""

import os
import signal
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from certstore.net.tls_server import load_pair, server_context
from certstore.store import trial as trial_module
from certstore.store.trial import Trial
from tests.certificates import CertificateAuthority, Issued
from tests.deadlines import wait_for
from tests.odd_certificates import PSS, Odd, converted, make, pss
from tests.odd_certificates import ec as ec_kind
from tests.odd_certificates import rsa as rsa_kind

CA = CertificateAuthority()
ONE, OTHER = CA.issue("a.test"), CA.issue("a.test")
RSA, OTHER_RSA = CA.issue("a.test", key_type="rsa2048"), CA.issue("a.test", key_type="rsa2048")
type Files = dict[str, bytes]


def files_of(issued: Issued) -> Files:
    return {"fullchain.pem": issued.fullchain_pem, "privkey.pem": issued.privkey_pem}


def another_key(files: Files) -> Files:
    return files | {"privkey.pem": OTHER.privkey_pem}


def pem_of(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )


def private_half_of_another(files: Files) -> Files:
    """An EC key file (RFC 5915) names the public half beside the private one: here they are of two keys."""
    key = serialization.load_pem_private_key(files["privkey.pem"], None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    der = key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    secret = key.private_numbers().private_value.to_bytes(32)
    assert der.count(secret) == 1
    return files | {"privkey.pem": as_pem("EC PRIVATE KEY", der.replace(secret, bytes(31) + b"\x05"))}


def as_pem(label: str, der: bytes) -> bytes:
    return ssl.DER_cert_to_PEM_cert(der).replace("CERTIFICATE", label).encode()


def wrong_exponent(files: Files) -> Files:
    """The public half is right; what the private half signs does not verify."""
    key = serialization.load_pem_private_key(files["privkey.pem"], None)
    assert isinstance(key, rsa.RSAPrivateKey)
    numbers = key.private_numbers()
    spoilt = rsa.RSAPrivateNumbers(
        numbers.p, numbers.q, numbers.d ^ 4, numbers.dmp1 ^ 4, numbers.dmq1 ^ 4, numbers.iqmp, numbers.public_numbers
    )
    return files | {"privkey.pem": pem_of(spoilt.private_key(unsafe_skip_rsa_key_validation=True))}


def long_chain(files: Files) -> Files:
    """Longer than the 100 KB that OpenSSL's clients read."""
    leaf, rest = files["fullchain.pem"].split(b"-----END CERTIFICATE-----\n", 1)
    return files | {"fullchain.pem": leaf + b"-----END CERTIFICATE-----\n" + rest * 300}


def locked(files: Files) -> Files:
    return files | {"privkey.pem": converted(files["privkey.pem"], "pkcs8 -topk8 -passout pass:word")}


ODD_PAIRS = {
    "EC P-256": Odd(),
    "EC P-384": Odd(ec_kind("P-384")),
    "EC P-521": Odd(ec_kind("P-521")),
    "EC P-224": Odd(ec_kind("P-224")),
    "EC secp256k1": Odd(ec_kind("secp256k1")),
    "EC brainpoolP256r1": Odd(ec_kind("brainpoolP256r1")),
    "EC P-256 with explicit parameters": Odd(ec_kind("P-256", "explicit")),
    "RSA 1024": Odd(rsa_kind(1024)),
    "RSA 2048": Odd(rsa_kind(2048)),
    "RSA 3072, exponent 3": Odd(rsa_kind(3072, "rsa_keygen_pubexp:3")),
    "RSA of three primes": Odd(rsa_kind(2048, "rsa_keygen_primes:3")),
    "RSA-PSS": Odd(PSS),
    "RSA-PSS for SHA-256": Odd(pss("sha256", 32)),
    "RSA-PSS for SHA-512": Odd(pss("sha512", 64)),
    "RSA-PSS for SHA-1": Odd(pss("sha1", 20)),
    "RSA-PSS with a salt longer than TLS has": Odd(pss("sha256", 64)),
    "Ed25519": Odd(("ED25519",)),
    "Ed448": Odd(("ED448",)),
    "X25519": Odd(("X25519",)),
    "DSA": Odd(("DSA", "dsa_paramgen_bits:2048")),
    "a leaf signed with SHA-1": Odd(digest="sha1"),
    "a leaf signed with MD5": Odd(intermediate=rsa_kind(2048), digest="md5"),
    "a leaf signed with SHA-224": Odd(digest="sha224"),
    "a leaf signed with SHA3": Odd(digest="sha3-256"),
    "an intermediate signed with SHA-1": Odd(ca_digest="sha1"),
    "an intermediate of RSA 1024": Odd(intermediate=rsa_kind(1024)),
    "an intermediate of P-224": Odd(intermediate=ec_kind("P-224")),
    "an intermediate of P-192": Odd(intermediate=ec_kind("prime192v1")),
    "an intermediate of secp256k1": Odd(intermediate=ec_kind("secp256k1")),
    "an intermediate of RSA-PSS": Odd(intermediate=PSS),
    "an intermediate of DSA": Odd(intermediate=("DSA", "dsa_paramgen_bits:2048")),
    "an intermediate of DSA 1024": Odd(intermediate=("DSA", "dsa_paramgen_bits:1024")),
    "another key": Odd(change=another_key),
    "a key of another kind": Odd(rsa_kind(2048), change=another_key),
    "a key whose halves are of two": Odd(change=private_half_of_another),
    "a key that signs wrongly": Odd(rsa_kind(2048), change=wrong_exponent),
    "a chain of 100 KB": Odd(change=long_chain),
    "a key with a password": Odd(change=locked),
    "no key": Odd(change=lambda files: files | {"privkey.pem": b""}),
}


@pytest.fixture(scope="module")
def trial() -> Iterator[Trial]:
    trial = Trial()
    yield trial
    trial.close()


def is_served(files: Files, folder: Path, version: ssl.TLSVersion) -> bool:
    """By a server over a real connection, on the settings of the listeners."""
    for name, content in files.items():
        (folder / name).write_bytes(content)
    context = server_context()
    try:
        load_pair(context, folder / "fullchain.pem", folder / "privkey.pem")
    except OSError:
        return False
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    client.minimum_version = client.maximum_version = version
    ours, theirs = socket.socketpair()
    served: list[bool] = []

    def serve() -> None:
        try:
            with context.wrap_socket(theirs, server_side=True) as secure:
                secure.sendall(b"served")
        except OSError:
            served.append(False)
            theirs.close()

    serving = threading.Thread(target=serve)
    serving.start()
    try:
        with client.wrap_socket(ours) as secure:
            return secure.recv(10) == b"served"
    except OSError:
        return False
    finally:
        ours.close()
        serving.join()


@pytest.mark.parametrize("case", ODD_PAIRS)
def test_the_verdict_is_what_the_serving_library_does(case: str, trial: Trial, tmp_path: Path) -> None:
    files = make(ODD_PAIRS[case])
    served = [is_served(files, tmp_path, each) for each in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)]
    assert (trial(files) is None) is all(served), (trial(files), served)


def test_an_ec_and_an_rsa_pair_are_both_tried(trial: Trial) -> None:
    both = files_of(ONE) | {f"{name.removesuffix('.pem')}-rsa.pem": each for name, each in files_of(RSA).items()}
    assert trial(both) is None
    assert "key values mismatch" in (trial(both | {"privkey-rsa.pem": OTHER_RSA.privkey_pem}) or "")


# The process that tries.


def stand_in(monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """Every child from now on runs this instead of a trial, with the bounds of a trial."""
    lines = f"import os, signal, sys, time; import certstore.store.trial_child as it\ndef act(pairs):\n {body}\n"
    program = (sys.executable, "-c", f"{lines}it.try_pairs = act\nsys.exit(it.main())")
    monkeypatch.setattr(trial_module, "PROGRAM", program)


@pytest.mark.parametrize(
    "body", ["os.kill(os.getpid(), signal.SIGKILL)", "raise OSError(28, 'No space left')", "time.sleep(600)"]
)
def test_what_the_machine_does_is_not_the_certificates_fault(monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(trial_module, "WALL_SECONDS", 0.5 if "sleep" in body else 60)
        stand_in(patch, body)
        trial = Trial()
        with pytest.raises(OSError, match=r"killed|No space|within 0.5 s"):
            trial(files_of(ONE))
    with pytest.raises(OSError, match=r"killed|No space|within 0.5 s"):
        trial(files_of(ONE))
    monkeypatch.setattr(trial_module, "FAULT_SECONDS", 0.0)
    trial._faults.clear()
    trial._end_child()
    assert trial(files_of(ONE)) is None
    trial.close()


def test_who_is_answered_from_memory_does_not_wait_for_another_trial(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The writer asks under its lock, and everybody waits for that."""
    trial, is_asked, may_end = Trial(), tmp_path / "asked", tmp_path / "end"
    trial(files_of(ONE))
    trial._end_child()
    stand_in(
        monkeypatch, f"open({str(is_asked)!r}, 'w')\n while not os.path.exists({str(may_end)!r}): time.sleep(0.01)"
    )
    hostile = threading.Thread(target=trial, args=(files_of(CA.issue("b.test")),))
    hostile.start()
    wait_for(is_asked.exists, "the other trial to begin")
    assert trial(files_of(ONE)) is None
    assert hostile.is_alive()
    may_end.touch()
    hostile.join()
    trial.close()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        pytest.param("while True: pass", "not done after 1 s of computing", id="computes without end"),
        pytest.param("bytearray(1 << 30)", "too much memory", id="takes a gigabyte"),
        pytest.param("os.abort()", "SIGABRT", id="crashes"),
        pytest.param("os._exit(7)", "exit code 7", id="exits"),
    ],
)
def test_what_the_library_does_not_survive_is_a_reason(monkeypatch: pytest.MonkeyPatch, body: str, reason: str) -> None:
    monkeypatch.setattr(trial_module, "CPU_SECONDS", 1)
    with monkeypatch.context() as patch:
        stand_in(patch, body)
        trial = Trial()
        assert reason in (trial(files_of(ONE)) or "")
    trial._end_child()
    assert trial(files_of(CA.issue("b.test"))) is None, "the next one gets a child of its own"
    trial.close()


def test_a_child_that_was_killed_is_replaced_and_nobody_is_blamed() -> None:
    trial = Trial()
    assert trial(files_of(ONE)) is None
    first = child_of(trial)
    assert trial(files_of(CA.issue("b.test"))) is None
    assert child_of(trial) == first, "one child tries them all"
    os.kill(first, signal.SIGKILL)
    assert trial(files_of(CA.issue("c.test"))) is None
    assert child_of(trial) != first
    trial.close()


def test_the_child_ends_with_its_trial() -> None:
    trial = Trial()
    trial(files_of(ONE))
    pid = child_of(trial)
    trial.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_the_same_files_are_tried_once_and_without_a_child_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    trial = Trial()
    first = trial(another_key(files_of(ONE)))
    trial.close()
    monkeypatch.setattr(trial_module, "PROGRAM", ("/nonexistent",))
    assert trial(another_key(files_of(ONE))) == first
    assert trial(files_of(ONE)) is None, "without a child it is tried here"


def child_of(trial: Trial) -> int:
    assert trial._child is not None
    pid: int = trial._child._process.pid
    return pid
