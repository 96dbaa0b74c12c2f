"""Runs a program that works on a zone: bounded in time and output, and ended with what it started in its session.

The program leads a process group. Before its end is collected the group is killed, so its number can't have gone to
others yet.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from certstore.acme.dns.bounds import Bounds

OUTPUT_LIMIT = 4096
_POLL_SECONDS = 0.05
_TERM_SECONDS = 2.0
_PASSED_ON = (
    "PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ended:
    """`status` is the exit status, negative for a signal, or None where the time was over. `output` is the beginning of
    what it printed."""

    status: int | None
    output: bytes = field(repr=False)


def usual_environment() -> dict[str, str]:
    """What a program needs to find its files and the network, and nothing else of the service's environment."""
    return {name: os.environ[name] for name in _PASSED_ON if name in os.environ}


def run(
    command: Sequence[str],
    environment: Mapping[str, str],
    bounds: Bounds,
    *,
    given: bytes = b"",
    with_errors: bool = True,
    limit: int = OUTPUT_LIMIT,
) -> Ended:
    """`given` is its standard input; `with_errors` adds its error output to `output`. Raises OSError where it can't be
    started, and Interrupted."""
    process = subprocess.Popen(
        list(command),
        stdin=subprocess.PIPE if given else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if with_errors else subprocess.DEVNULL,
        env=dict(environment),
        cwd="/",
        start_new_session=True,
    )
    output = bytearray()
    with _Pipes(process, given, output, limit) as pipes:
        try:
            while not _has_ended(process) and not bounds.budget.is_over:
                bounds.check()
                pipes.move(_POLL_SECONDS)
            is_in_time = _has_ended(process)
            if is_in_time:
                pipes.move(0)
        finally:
            _end(process)
    return Ended(process.returncode if is_in_time else None, bytes(output))


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Without collecting it."""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _end(process: subprocess.Popen[bytes]) -> None:
    """The program and all of its group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if not _has_ended(process):
            os.killpg(process.pid, signal.SIGTERM)
            with contextlib.suppress(ChildProcessError):
                _wait_for_end(process)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _wait_for_end(process: subprocess.Popen[bytes]) -> None:
    bounds = Bounds(_TERM_SECONDS)
    while not _has_ended(process) and not bounds.budget.is_over:
        with selectors.DefaultSelector() as selector:
            selector.select(_POLL_SECONDS)


class _Pipes:
    """Input and output of a process, without a thread that a forgotten grandchild could hold up."""

    def __init__(self, process: subprocess.Popen[bytes], given: bytes, output: bytearray, limit: int) -> None:
        self._process = process
        self._given = memoryview(given)
        self._output = output
        self._limit = limit
        self._selector = selectors.DefaultSelector()
        assert process.stdout is not None  # noqa: S101
        os.set_blocking(process.stdout.fileno(), False)
        self._selector.register(process.stdout, selectors.EVENT_READ)
        if process.stdin is not None:
            os.set_blocking(process.stdin.fileno(), False)
            self._selector.register(process.stdin, selectors.EVENT_WRITE)

    def __enter__(self) -> _Pipes:
        return self

    def __exit__(self, *exc: object) -> None:
        self._selector.close()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()

    def move(self, seconds: float) -> None:
        """Write and read what goes now; wait for that as long as `seconds`."""
        for key, _ in self._selector.select(seconds):
            if key.fileobj is self._process.stdin:
                self._write(key.fd)
            else:
                self._read(key.fd)

    def _write(self, descriptor: int) -> None:
        try:
            self._given = self._given[os.write(descriptor, self._given) :]
        except OSError:
            self._given = self._given[:0]
        if not self._given and self._process.stdin is not None:
            self._selector.unregister(self._process.stdin)
            with contextlib.suppress(OSError):
                self._process.stdin.close()

    def _read(self, descriptor: int) -> None:
        """Everything is read, so that the program does not wait; only the beginning is kept."""
        with contextlib.suppress(BlockingIOError):
            piece = os.read(descriptor, 65_536)
            if not piece and self._process.stdout is not None:
                self._selector.unregister(self._process.stdout)
            self._output += piece[: max(self._limit - len(self._output), 0)]
