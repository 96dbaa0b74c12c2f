"""Connections counted over all workers, in shared memory."""

import os
import signal
import socket
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from edge_addon.plane.connection_counts import ROWS, ConnectionCounts, buckets_of, client_key
from tests.certificates import CertificateAuthority
from tests.deadlines import wait_for
from tests.running import running_edge

HOST, OTHER = "192.0.2.1", "192.0.2.2"


def test_counts_of_other_workers_are_seen_until_their_row_is_freed() -> None:
    connection_counts = ConnectionCounts()
    first, second = connection_counts.allocate(), connection_counts.allocate()

    assert [first.add(), second.add(), first.add()] == [1, 2, 3]
    counted = [first.add_to(buckets_of(HOST)), second.add_to(buckets_of(HOST)), second.add_to(buckets_of(OTHER))]
    assert counted == [1, 2, 1]

    connection_counts.free(second)
    assert first.add() == 3
    assert first.add_to(buckets_of(HOST)) == 2
    first.remove_from(buckets_of(HOST))
    first.remove()
    third = connection_counts.allocate()
    assert third.row == second.row
    assert third.add() == 3
    assert third.add_to(buckets_of(HOST)) == 2


def test_a_count_survives_a_fork_both_ways() -> None:
    connection_counts = ConnectionCounts()
    ours, childs = connection_counts.allocate(), connection_counts.allocate()
    ours.add_to(buckets_of(HOST))
    pid = os.fork()
    if not pid:
        os._exit(0 if childs.add_to(buckets_of(HOST)) == 2 else 1)
    _, status = os.waitpid(pid, 0)

    assert status == 0
    assert ours.add_to(buckets_of(HOST)) == 3


def test_a_worker_knows_its_surplus_over_those_that_accept() -> None:
    connection_counts = ConnectionCounts()
    control, first, second = connection_counts.allocate(), connection_counts.allocate(), connection_counts.allocate()
    first.add()
    assert first.surplus() == 0

    first.accepts = True
    assert first.surplus() == 0
    second.accepts = True
    assert (first.surplus(), second.surplus()) == (1, 0)
    second.add()
    second.add()
    assert (first.surplus(), second.surplus()) == (0, 1)
    second.accepts = False
    assert first.surplus() == 0
    assert not control.accepts


def test_workers_beyond_the_rows_count_for_themselves() -> None:
    connection_counts = ConnectionCounts()
    tallies = [connection_counts.allocate() for _ in range(ROWS + 1)]
    last = tallies.pop()

    assert [each.add() for each in tallies] == list(range(1, ROWS + 1))
    assert last.add() == 1
    connection_counts.free(last)
    assert tallies[0].add() == ROWS + 1


def test_counts_are_never_below_the_truth_and_rarely_above_it() -> None:
    connection_counts = ConnectionCounts()
    workers = [connection_counts.allocate(), connection_counts.allocate()]
    hosts = [f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}" for number in range(20_000)]
    for number, host in enumerate(hosts):
        workers[number % 2].add_to(buckets_of(host))

    counts = [workers[0].add_to(buckets_of(host)) for host in hosts[:1000]]

    assert min(counts) >= 2
    assert sum(count > 2 for count in counts) < 400


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("fe80::1%lo", "fe80::2%lo", True),
        ("unix:a", "unix:b", False),
    ],
)
def test_an_ipv6_client_is_its_network(one: str, other: str, is_same: bool) -> None:
    assert (client_key(one) == client_key(other)) is is_same


def is_refused(client: socket.socket) -> bool:
    client.settimeout(0.5)
    try:
        return client.recv(4096).startswith(b"HTTP/1.1 503 ")
    except TimeoutError:
        return False


@pytest.mark.parametrize("limit", ["connections", "connections_per_address"])
def test_a_limit_holds_over_all_workers_and_a_killed_one_no_longer_counts(tmp_path: Path, limit: str) -> None:
    settings = {"listeners": [{"kind": "http"}], "workers": 3, "limits": {limit: 6}}
    main = CertificateAuthority().issue("edge.test")
    with running_edge(tmp_path, settings, {"main": main}) as edge:
        places = [6, 7, 8]  # workers that count at the same moment may each admit one more

        def kept_of_ten(while_open: Callable[[], None] = lambda: None) -> int:
            with ExitStack() as stack:
                clients = [
                    stack.enter_context(socket.create_connection(("127.0.0.1", edge.port("http")), timeout=60))
                    for _ in range(10)
                ]
                refused = sum(map(is_refused, clients))
                while_open()
                return 10 - refused

        def kill_all() -> None:
            for pid in edge.worker_pids():
                os.kill(pid, signal.SIGKILL)

        assert kept_of_ten(kill_all) in places
        wait_for(lambda: len(edge.worker_pids()) == 3, "other workers")
        wait_for(lambda: kept_of_ten() in places, "the places that the killed workers' clients had")
