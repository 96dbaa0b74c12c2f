"""Ports that no other program takes."""

import itertools
import os
import socket
from pathlib import Path

_LOWEST = 12000
_leases: list[socket.socket] = []
"""Held until this process ends, in whatever way; then the system frees the names."""
_turns = itertools.count(os.getpid() * 97)


def listening_socket(host: str = "127.0.0.1", *, backlog: int = 1024) -> socket.socket:
    """An inheritable socket that listens on a port chosen by the system, for a child or a server in this process.

    The caller closes it. Passing the socket instead of its number leaves nobody a moment to take the port.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, 0))
    listener.listen(backlog)
    listener.set_inheritable(True)
    return listener


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on, for programs that accept no socket; prefer `listening_socket`.

    It lies below the range from which the system assigns ports, and no other test process on this machine gets it: each
    port is leased by binding a socket name, which only one process can hold.
    """
    above = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])
    for turn in itertools.islice(_turns, above - _LOWEST):
        port = _LOWEST + turn % (above - _LOWEST)
        if _lease(port) and _is_free(host, port):
            return port
    raise AssertionError(f"no port between {_LOWEST} and {above} is free")


def _lease(port: int) -> bool:
    lease = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        lease.bind(f"\0certedge-test-port-{port}")
    except OSError:
        lease.close()
        return False
    _leases.append(lease)
    return True


def _is_free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
