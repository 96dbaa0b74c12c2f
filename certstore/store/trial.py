"""Tries whether the TLS library that serves could serve a certificate, before it goes live.

The library that reads certificates for the checks is not the one that serves them, and the two differ in what they
accept. So the files are loaded, and handshakes made, exactly as a listener would. This happens in a child process with
little time and memory: what would crash or hang the library must not do so in the writer, nor in every worker.
"""

from __future__ import annotations

import json
import logging
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping

from certstore.model import layout as names
from certstore.model.certificate.findings import Refusal, Refused, refusal
from certstore.net.tls_engine import libraries_in_force
from certstore.store.trial_child import try_pairs
from certstore.store.versions import digest_of

logger = logging.getLogger(__name__)

CPU_SECONDS = 2
"""Time for one trial. That of an EC certificate takes 2 ms, that of RSA with 8192 bits 50 ms."""
WALL_SECONDS = 20.0
MEMORY = 256 << 20
"""Bytes of address space. The program needs 40 MB."""
PROGRAM = (sys.executable, "-P", "-m", "certstore.store.trial_child")
REMEMBERED = 1024
FAULT_SECONDS = 5.0
"""Whoever asks under the writer's lock has just asked without it, and gets the same answer."""
_STARTS = 2
"""A child may have ended for reasons of its own before it was asked, so another one is asked too."""


class Trial:
    """One child for all trials: starting a process takes 50 ms, and 10,000 certificates may come in together.

    It starts with the first trial and is replaced after it has ended. May be called from any thread.
    """

    def __init__(self) -> None:
        self._asking = threading.Lock()
        self._child: _Child | None = None
        self._verdicts: OrderedDict[str, str | None] = OrderedDict()
        self._faults: dict[str, tuple[float, OSError]] = {}
        """By what was tried: until when it is not tried again, and what the machine lacked."""
        self._lock = threading.Lock()
        """For what is remembered only: who is answered from memory waits for nobody's trial."""

    def __call__(self, files: Mapping[str, bytes]) -> str | None:
        """Why the library can't serve the files of this version (by name), in words that follow its name; None if it
        can. Asked for the same files again, it answers from memory. Raises OSError where the machine is to blame, for
        a moment from memory too.
        """
        digest = digest_of(dict(files))
        if (known := self._remembered(digest)) is not None:
            return known[0]
        with self._asking:
            if (known := self._remembered(digest)) is not None:
                return known[0]
            try:
                reason = self._ask(files)
            except OSError as error:
                self._note_fault(digest, error)
                raise
        with self._lock:
            self._verdicts[digest] = reason
            if len(self._verdicts) > REMEMBERED:
                self._verdicts.popitem(last=False)
        return reason

    def close(self) -> None:
        with self._asking:
            self._end_child()

    def _remembered(self, digest: str) -> tuple[str | None] | None:
        """The answer, if there is one. Raises OSError."""
        with self._lock:
            if digest in self._verdicts:
                self._verdicts.move_to_end(digest)
                return (self._verdicts[digest],)
            until, fault = self._faults.get(digest, (0.0, None))
            if fault is not None and time.monotonic() < until:
                raise OSError(None, str(fault.strerror))
        return None

    def _note_fault(self, digest: str, fault: OSError) -> None:
        now = time.monotonic()
        with self._lock:
            self._faults = {each: kept for each, kept in self._faults.items() if kept[0] > now}
            self._faults[digest] = now + FAULT_SECONDS, fault

    def _ask(self, files: Mapping[str, bytes]) -> str | None:
        pairs = [(files[names.FULLCHAIN], files[names.PRIVKEY])]
        if names.FULLCHAIN_RSA in files:
            pairs.append((files[names.FULLCHAIN_RSA], files[names.PRIVKEY_RSA]))
        texts = [(chain.decode("ascii", "replace"), key.decode("ascii", "replace")) for chain, key in pairs]
        order, code = json.dumps(texts), 0
        for _ in range(_STARTS):
            try:
                self._child = self._child or _Child()
            except OSError as error:
                # Where a user may not run this Python, or there are too many processes, certificates go live as well.
                logger.warning("a certificate is tried without a process of its own: %s", error.strerror)
                return try_pairs(texts)
            try:
                answer = self._child.ask(order)
            except TimeoutError:
                self._end_child()
                # It waited, but not for a processor: that is no fault of the certificate's.
                raise OSError(None, f"the certificate could not be tried within {WALL_SECONDS:g} s") from None
            except (OSError, ValueError):
                code = self._end_child()
                if code == -signal.SIGXCPU:
                    return f"it is not done after {CPU_SECONDS} s of computing"
                continue
            if (fault := answer.get("fault")) is not None:
                raise OSError(None, f"the certificate could not be tried: {fault}")
            return answer["reason"]
        if code == -signal.SIGKILL:
            raise OSError(None, "the trial of the certificate was killed, perhaps for lack of memory")
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return f"its process ends ({how})"

    def _end_child(self) -> int:
        """Its exit code."""
        child, self._child = self._child, None
        return 0 if child is None else child.end()


class _Child:
    """Raises OSError when it can't be started."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [*PROGRAM, str(CPU_SECONDS), str(MEMORY)],
                    stdin=theirs.fileno(),
                    stdout=theirs.fileno(),
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,  # Ctrl-C is for the service, which may have a trial to finish
                )
            except OSError:
                ours.close()
                raise
        ours.settimeout(WALL_SECONDS)
        self._socket = ours
        self._answers = ours.makefile("r", encoding="utf-8")

    def ask(self, order: str) -> dict[str, str | None]:
        """Raises TimeoutError, and another OSError or ValueError when the child ends without an answer."""
        self._socket.sendall(order.encode() + b"\n")
        answer: dict[str, str | None] = json.loads(self._answers.readline())
        return answer

    def end(self) -> int:
        self._answers.close()
        self._socket.close()
        try:
            # What has crashed or run out of time has ended; the end of its input ends everything else.
            return self._process.wait(0.5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


def refused(of: str, reason: str) -> Refused:
    """`of` is what the certificate is for, `reason` the answer of a trial."""
    remedy = next(advice for words, advice in _ADVICE.items() if words in reason)
    return Refused((refusal(Refusal.UNSERVABLE, f"{inability(of, reason)}; {remedy}"),))


def inability(of: str, reason: str) -> str:
    """The sentence without a remedy."""
    return f"the TLS library ({libraries_in_force()}) can't serve {of}: {reason}"


_ADVICE = {
    "key values mismatch": "use the key that the certificate was requested with",
    "key type mismatch": "use the key that the certificate was requested with, in the form in which it was made",
    "too small": "get a certificate with an EC key (P-256), or RSA with at least 2048 bits",
    "md too weak": "get a certificate whose whole chain is signed with SHA-256",
    "": "get a certificate with an ordinary EC key (P-256) or RSA key (2048 bits), signed with SHA-256",
}
"""By words of the library; the last one for all others."""
