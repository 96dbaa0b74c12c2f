import os
import socket
from pathlib import Path

import pytest

from edge_addon.listeners.port_owner import find_port_owner, listening_inodes
from tests.ports import listening_socket

TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:01BB 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1234 1 0000 100 0 0 10 0
   1: 00000000:01BB 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1235 1 0000 100 0 0 10 0
   2: 0100007F:01BB 0100007F:D431 01 00000000:00000000 00:00000000 00000000     0        0 1236 1 0000 100 0 0 10 0
   3: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1237 1 0000 100 0 0 10 0
   4: torn
"""


@pytest.mark.parametrize(
    ("table", "port", "inodes"),
    [
        pytest.param(TABLE, 443, {1234, 1235}, id="listening sockets on the port, not its connections"),
        pytest.param(TABLE, 8080, {1237}, id="another port"),
        pytest.param(TABLE, 25, set(), id="nobody"),
        pytest.param("", 443, set(), id="an empty table"),
    ],
)
def test_inodes_of_listening_sockets(table: str, port: int, inodes: set[int]) -> None:
    assert listening_inodes(table, port) == inodes


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_process_that_listens_is_found(host: str) -> None:
    with listening_socket(host) as listener:
        owner = find_port_owner(listener.getsockname()[1])
    assert owner is not None
    assert f"(pid {os.getpid()})" in owner


def test_no_process_is_found_on_a_port_that_is_only_bound() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        assert find_port_owner(silent.getsockname()[1]) is None


def test_a_system_without_proc_has_no_answer(tmp_path: Path) -> None:
    assert find_port_owner(443, tmp_path) is None
