"""Ports that the system chose."""

import socket


def listening_socket(host: str = "127.0.0.1", *, backlog: int = 1024) -> socket.socket:
    """A socket that listens on a port of the system's choice, inheritable, for a child or a server in this process.

    The caller closes it. Passing the socket, not its number, leaves no moment in which somebody else takes the port.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, 0))
    listener.listen(backlog)
    listener.set_inheritable(True)
    return listener


def free_port(host: str = "127.0.0.1") -> int:
    """A port nobody listens on, for programs that take no socket. Another process may still come first: prefer
    `listening_socket` where the peer can inherit one."""
    with listening_socket(host) as listener:
        port: int = listener.getsockname()[1]
        return port
