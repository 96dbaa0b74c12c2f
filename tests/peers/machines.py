"""Machines of a test: network namespaces on one bridge, each with an address of its own. Needs root.

    with Network("edge-a", "edge-b") as network:
        a = network["edge-a"]
        a.do(subprocess.Popen, …)   # a process, a socket or a request of that machine
        a.cut(), a.heal()           # its cable

A thread belongs to one namespace, and what it starts does too: whatever a machine does, its own thread does.
"""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from types import TracebackType
from typing import Self

import pytest

from tests.peers import MISSING_PEER, do_without, require_peer

PREFIX = "10.77.0."


class Machine:
    """`address` is where the others reach it. Its threads are those that `do` and `begin` use."""

    def __init__(self, name: str, address: str, cable: Callable[[bool], None], namespace: str) -> None:
        self.name, self.address, self._cable = name, address, cable
        self._threads = ThreadPoolExecutor(4, f"machine-{name}", initializer=_enter, initargs=(namespace,))

    def do[**P, T](self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return self._threads.submit(function, *args, **kwargs).result()

    def begin[**P, T](self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Beside what the test does."""
        return self._threads.submit(function, *args, **kwargs)

    def cut(self) -> None:
        """Pull its cable: no other machine reaches it, and it reaches none."""
        self._cable(False)

    def heal(self) -> None:
        self._cable(True)

    def close(self) -> None:
        self._threads.shutdown()


class Network:
    """One machine for each name."""

    def __init__(self, *names: str) -> None:
        self._ip = str(require_peer("ip"))
        if os.geteuid() != 0:
            do_without("network namespaces (run the tests as root)")
        self._names = names
        self._mark = f"ce-{secrets.token_hex(3)}"
        self._stack = ExitStack()
        self.machines: dict[str, Machine] = {}

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            bridge = self._namespace(stack, "bridge")
            self._run("-n", bridge, "link", "add", "br0", "type", "bridge")
            self._run("-n", bridge, "link", "set", "br0", "up")
            for number, name in enumerate(self._names, 11):
                self.machines[name] = self._machine(stack, bridge, name, f"{PREFIX}{number}")
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def __getitem__(self, name: str) -> Machine:
        return self.machines[name]

    def __iter__(self) -> Iterator[Machine]:
        return iter(self.machines.values())

    def _machine(self, stack: ExitStack, bridge: str, name: str, address: str) -> Machine:
        namespace, port = self._namespace(stack, name), f"to-{name}"[:15]
        peer = ["peer", "name", "eth0", "netns", namespace]
        self._run("-n", bridge, "link", "add", port, "type", "veth", *peer)
        self._run("-n", bridge, "link", "set", port, "master", "br0", "up")
        self._run("-n", namespace, "address", "add", f"{address}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            self._run("-n", namespace, "link", "set", device, "up")

        def cable(is_plugged: bool) -> None:
            self._run("-n", bridge, "link", "set", port, "up" if is_plugged else "down")

        machine = Machine(name, address, cable, namespace)
        stack.callback(machine.close)
        return machine

    def _namespace(self, stack: ExitStack, name: str) -> str:
        namespace = f"{self._mark}-{name}"
        try:
            self._run("netns", "add", namespace)
        except RuntimeError as error:  # a container may be root's and still not allow it
            pytest.skip(f"{MISSING_PEER}network namespaces ({error})")
        stack.callback(self._run, "netns", "delete", namespace)
        return namespace

    def _run(self, *words: str) -> None:
        ran = subprocess.run([self._ip, *words], capture_output=True, text=True, check=False, timeout=60)
        if ran.returncode != 0:
            raise RuntimeError(f"ip {' '.join(words)}: {ran.stderr.strip()}")


def _enter(namespace: str) -> None:
    descriptor = os.open(f"/run/netns/{namespace}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.setns(descriptor, os.CLONE_NEWNET)
    finally:
        os.close(descriptor)
