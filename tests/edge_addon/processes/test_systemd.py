import os
import socket
from collections.abc import Mapping
from pathlib import Path

import pytest

from edge_addon.processes.systemd import Notifier, inherited_fds, take_sockets, watchdog_seconds


@pytest.mark.parametrize(
    ("environment", "fds"),
    [
        pytest.param({"LISTEN_PID": "7", "LISTEN_FDS": "2"}, [3, 4], id="ours"),
        pytest.param({"LISTEN_PID": "8", "LISTEN_FDS": "2"}, [], id="another process's"),
        pytest.param({"LISTEN_FDS": "2"}, [], id="for nobody"),
        pytest.param({"LISTEN_PID": "7"}, [], id="no count"),
        pytest.param({"LISTEN_PID": "7", "LISTEN_FDS": "-1"}, [], id="nonsense"),
        pytest.param({}, [], id="no service manager"),
    ],
)
def test_only_descriptors_for_this_process_are_used(environment: Mapping[str, str], fds: list[int]) -> None:
    assert inherited_fds(environment, 7) == fds


def test_children_do_not_claim_the_sockets() -> None:
    environment = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "0", "LISTEN_FDNAMES": "https", "HOME": "/"}
    assert take_sockets(environment) == []
    assert environment == {"HOME": "/"}


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        pytest.param({"WATCHDOG_USEC": "30000000"}, 15.0, id="half of the timeout, for any process"),
        pytest.param({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 15.0, id="ours"),
        pytest.param({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, None, id="another process's"),
        pytest.param({"WATCHDOG_USEC": "0"}, None, id="switched off"),
        pytest.param({"WATCHDOG_USEC": "soon"}, None, id="nonsense"),
        pytest.param({}, None, id="no watchdog"),
    ],
)
def test_watchdog_interval(environment: Mapping[str, str], seconds: float | None) -> None:
    assert watchdog_seconds(environment, 7) == seconds


@pytest.mark.parametrize("is_abstract", [False, True], ids=["a path", "an abstract name"])
def test_states_reach_the_service_manager(tmp_path: Path, is_abstract: bool) -> None:
    name = f"@edge-test-{os.getpid()}-{tmp_path.name}" if is_abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(name.replace("@", "\0", 1) if is_abstract else name)
        manager.settimeout(5)
        notifier = Notifier({"NOTIFY_SOCKET": name})
        notifier.notify("READY=1", "STATUS=serving")
        assert manager.recv(1024) == b"READY=1\nSTATUS=serving"
        notifier.reloading()
        reloading, moment = manager.recv(1024).split(b"\n")
        assert reloading == b"RELOADING=1"
        assert moment.startswith(b"MONOTONIC_USEC=")
        notifier.notify("STOPPING=1", "STATUS=draining")
        assert manager.recv(1024) == b"STOPPING=1\nSTATUS=draining"
        notifier.notify("WATCHDOG=1")
        assert manager.recv(1024) == b"WATCHDOG=1"
        notifier.close()


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": "/nowhere/at/all"}], ids=["none", "one that is gone"])
def test_a_missing_service_manager_is_ignored(environment: Mapping[str, str]) -> None:
    notifier = Notifier(environment)
    notifier.notify("READY=1", "STATUS=serving")
    notifier.close()
