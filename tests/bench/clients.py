"""The clients: s_time, wrk and h2load for load, Python's own TLS for names, certificates and idle connections.

Every load returns what was done and raises LoadFailed if an answer is wrong: a figure is worthless if the server just
answers errors quickly.
"""

from __future__ import annotations

import hashlib
import re
import socket
import ssl
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.material import MAIN_HOST
from tests.bench.programs import find

TIMEOUT_SECONDS = 30.0
_S_TIME_DONE = re.compile(r"^(\d+) connections in \d+ real seconds, (\d+) bytes read per connection", re.MULTILINE)


class LoadFailed(Exception):
    """A client got a wrong answer; the message holds its output."""


class NotResumed(LoadFailed):
    """The server issues sessions that it then does not resume."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a client did."""

    operations: int
    seconds: float


# Handshakes, one after another, in several processes at once.


def s_time(port: int, seconds: int, *, path: str | None = None, reuse: bool = False, processes: int = 2) -> Load:
    """Handshakes without SNI; with `path` a GET on each. `reuse`: all but the first resume, TLS 1.2 without a GET.

    s_time reads no byte after the handshake unless it fetches a page, so it never gets a TLS 1.3 ticket without one.
    """
    command = [find("openssl"), "s_time", "-connect", f"127.0.0.1:{port}", "-time", str(seconds)]
    command.append("-reuse" if reuse else "-new")
    if path is not None:
        # s_time writes `GET %s HTTP/1.0` without Host; this makes it an HTTP/1.1 request and the rest a header.
        command += ["-www", f"{path} HTTP/1.1\r\nHost: {MAIN_HOST}\r\nConnection: close\r\nX-Rest:"]
    elif reuse:
        command.append("-tls1_2")
    outputs = _run_all([command] * processes, seconds + TIMEOUT_SECONDS)
    operations = 0
    for output in outputs:
        found = _S_TIME_DONE.search(output)
        if found is None or not int(found[1]):
            raise LoadFailed(f"s_time made no connection: {output[-500:]}")
        operations += int(found[1])
        if path is not None and int(found[2]) < 1000:
            raise LoadFailed(f"s_time read {found[2]} bytes per page: no whole answer")
        resumed = _resumptions(output)
        if reuse and resumed < 0.95 * int(found[1]):
            raise NotResumed(f"only {resumed} of {found[1]} sessions were resumed")
        if not reuse and resumed:
            raise LoadFailed("sessions were resumed where none should be")
    return Load(operations, float(seconds))


def _resumptions(output: str) -> int:
    """s_time prints a letter per connection, `r` for a resumed one."""
    return sum(line.count("r") for line in output.splitlines() if line and not line.strip("*r3tu"))


# Requests.


def wrk(port: int, path: str, seconds: float, *, connections: int = 16) -> Load:
    """Keep-alive GETs over HTTP/1.1."""
    url = f"https://localhost:{port}{path}"
    command = [find("wrk"), "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "-H", f"Host: {MAIN_HOST}", url]
    (output,) = _run_all([command], seconds + TIMEOUT_SECONDS)
    found = re.search(r"(\d+) requests in ([\d.]+)(ms|s|m),", output)
    if found is None or "Non-2xx" in output or not int(found[1]):
        raise LoadFailed(f"wrk: {output[-500:]}")
    return Load(int(found[1]), float(found[2]) * {"ms": 0.001, "s": 1.0, "m": 60.0}[found[3]])


def h2load(
    port: int,
    path: str,
    requests: int,
    *,
    http1: bool = False,
    connections: int = 4,
    streams: int = 1,
    upload: Path | None = None,
) -> Load:
    """This many GETs, or PUTs of a file, over HTTP/2 unless `http1`."""
    connections = min(connections, requests)
    command = [find("h2load"), f"-n{requests}", f"-c{connections}", f"-m{streams}", *(["--h1"] if http1 else [])]
    if upload is not None:
        command += ["-d", str(upload), "-H", ":method: PUT"]
    command += [f"--connect-to=127.0.0.1:{port}", f"https://{MAIN_HOST}{path}"]
    (output,) = _run_all([command], 60 + TIMEOUT_SECONDS)
    protocol = re.search(r"Application protocol: (\S+)", output)
    done = re.search(r"finished in ([\d.]+)(us|ms|s|m),", output)
    codes = re.search(r"status codes: (\d+) 2xx, 0 3xx, 0 4xx, 0 5xx", output)
    wanted = "http/1.1" if http1 else "h2"
    if done is None or codes is None or int(codes[1]) != requests or protocol is None or protocol[1] != wanted:
        raise LoadFailed(f"h2load: {output[-700:]}")
    return Load(requests, float(done[1]) * {"us": 1e-6, "ms": 0.001, "s": 1.0, "m": 60.0}[done[2]])


def _run_all(commands: Sequence[Sequence[str]], seconds: float) -> list[str]:
    """Run them at the same time and return the output of each. Raises LoadFailed if one fails or does not end."""
    running = [
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        for command in commands
    ]
    try:
        outputs = []
        for command, process in zip(commands, running, strict=True):
            try:
                output, _ = process.communicate(timeout=seconds)
            except subprocess.TimeoutExpired:
                raise LoadFailed(f"{command[0]} did not end within {seconds:g} s") from None
            if process.returncode:
                raise LoadFailed(f"{' '.join(command)} ended with {process.returncode}: {output[-500:]}")
            outputs.append(output)
        return outputs
    finally:
        for process in running:
            if process.poll() is None:
                process.kill()
                process.wait()


# One connection, with a name.


def _client_context(protocols: Sequence[str] = ()) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # the fingerprint shows which certificate it is
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


_CONTEXT = _client_context()


def connect(
    port: int, name: str | None, *, seconds: float = TIMEOUT_SECONDS, protocols: Sequence[str] = ()
) -> ssl.SSLSocket:
    """A TLS connection with this name as SNI, and these protocols as ALPN. Raises OSError."""
    plain = socket.create_connection(("127.0.0.1", port), timeout=seconds)
    try:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        context = _client_context(protocols) if protocols else _CONTEXT
        return context.wrap_socket(plain, server_hostname=name)
    except BaseException:
        plain.close()
        raise


def fingerprint(secure: ssl.SSLSocket) -> str:
    """SHA-256 of the leaf that the server sent."""
    return hashlib.sha256(secure.getpeercert(binary_form=True) or b"").hexdigest()


def served(port: int, name: str | None, *, seconds: float = TIMEOUT_SECONDS) -> str | None:
    """The fingerprint of the certificate that a client gets for this name; None if it gets none."""
    try:
        with connect(port, name, seconds=seconds) as secure:
            return fingerprint(secure)
    except OSError:
        return None


def get(secure: ssl.SSLSocket, host: str, path: str) -> bytes:
    """Send one keep-alive GET, return the body. Raises OSError, also for any answer but 200."""
    secure.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    received = b""
    while b"\r\n\r\n" not in received:
        received += _receive(secure)
    head, _, body = received.partition(b"\r\n\r\n")
    length = re.search(rb"\r\ncontent-length: *(\d+)", head.lower())
    if not head.startswith(b"HTTP/1.1 200 ") or length is None:
        raise OSError(f"answered {head[:100]!r}")
    while len(body) < int(length[1]):
        body += _receive(secure)
    return body


def _receive(secure: ssl.SSLSocket) -> bytes:
    data = secure.recv(65536)
    if not data:
        raise ConnectionResetError("closed by the server")
    return data


@contextmanager
def held_connections(port: int, host: str, path: str, count: int) -> Iterator[list[ssl.SSLSocket]]:
    """This many connections, each kept open after one answer."""
    held: list[ssl.SSLSocket] = []
    try:
        for _ in range(count):
            secure = connect(port, host)
            held.append(secure)
            get(secure, host, path)
        yield held
    finally:
        for secure in held:
            secure.close()


def still_answered(held: Sequence[ssl.SSLSocket], host: str, path: str) -> int:
    """How many of these connections still answer."""
    answered = 0
    for secure in held:
        try:
            get(secure, host, path)
            answered += 1
        except OSError:
            pass
    return answered
