import logging
import socket

import pytest

from certstore.model.settings.models import ListenerSettings
from edge_addon.listeners.listening import ListeningSockets
from edge_addon.listeners.sockets import CannotListen
from tests.ports import listening_socket


def _listener(listen: str) -> ListenerSettings:
    return ListenerSettings.model_validate({"kind": "https", "listen": listen})


def _is_open(each: socket.socket) -> bool:
    return each.fileno() >= 0


def test_a_listener_that_stays_keeps_its_socket_and_a_removed_one_is_closed_once_no_worker_has_it() -> None:
    sockets = ListeningSockets()
    sockets.adopt([_listener("127.0.0.1:0"), _listener("127.0.0.2:0")])
    stays, goes = sockets.listening
    sockets.adopt([_listener("127.0.0.3:0"), _listener("127.0.0.1:0")], 1)
    comes, stayed = sockets.listening
    assert stayed is stays
    assert comes.getsockname()[0] == "127.0.0.3"
    sockets.close_unused(1)
    assert _is_open(goes)
    sockets.close_unused(2)
    assert not _is_open(goes)
    sockets.close()
    assert not any(map(_is_open, (stays, comes)))
    assert sockets.listening == ()


def test_a_listener_that_is_added_back_while_a_worker_has_its_socket_gets_the_same_one() -> None:
    sockets = ListeningSockets()
    both = [_listener("127.0.0.1:0"), _listener("127.0.0.2:0")]
    sockets.adopt(both)
    before = sockets.listening
    sockets.adopt(both[:1], 1)
    sockets.adopt(both[:1], 2)
    sockets.close_unused(1)
    sockets.adopt(both, 3)
    sockets.close_unused(4)
    assert sockets.listening == before
    assert all(map(_is_open, before))
    sockets.close()


def test_settings_with_an_address_in_use_change_nothing() -> None:
    sockets = ListeningSockets()
    sockets.adopt([_listener("127.0.0.1:0")])
    before = sockets.listening
    with listening_socket() as taken, pytest.raises(CannotListen):
        sockets.adopt([_listener("127.0.0.2:0"), _listener(f"127.0.0.1:{taken.getsockname()[1]}")])
    assert sockets.listening == before
    assert all(map(_is_open, before))
    sockets.close()


def test_an_inherited_socket_is_used_and_one_without_a_listener_is_reported_and_kept(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ours, nobodys = listening_socket(), listening_socket()
    ours_at, nobodys_at = (each.getsockname()[1] for each in (ours, nobodys))
    sockets = ListeningSockets([nobodys, ours])
    with caplog.at_level(logging.WARNING):
        sockets.adopt([_listener(f"127.0.0.1:{ours_at}")])
    assert sockets.listening == (ours,)
    assert f"port {nobodys_at}" in caplog.text
    assert str(ours_at) not in caplog.text
    sockets.close_unused(99)
    sockets.adopt([_listener(f"127.0.0.1:{nobodys_at}")], 99)
    assert sockets.listening == (nobodys,)
    assert f"port {ours_at}" in caplog.text
    sockets.close_spares()
    assert not _is_open(ours)
    assert _is_open(nobodys)
    sockets.close()


def test_a_listener_for_ipv4_that_becomes_one_for_both_keeps_its_socket_and_gets_another() -> None:
    with listening_socket("0.0.0.0") as probe:
        port = probe.getsockname()[1]
    sockets = ListeningSockets()
    sockets.adopt([_listener(f"0.0.0.0:{port}")])
    (before,) = sockets.listening
    sockets.adopt([_listener(f"[::]:{port}")], 1)
    assert sockets.listening == (before,)
    with socket.create_connection(("::1", port), timeout=5):
        sockets.seconds[0].accept()[0].close()
    second = sockets.seconds[0]
    sockets.adopt([_listener(f"0.0.0.0:{port}")], 2)
    assert sockets.listening == (before,)
    sockets.close_unused(3)
    assert not _is_open(second)
    sockets.close()
    assert not _is_open(before)


def test_an_inherited_socket_that_does_not_listen_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        sockets = ListeningSockets([datagrams])
        with caplog.at_level(logging.WARNING):
            sockets.adopt([])
        assert "does not listen for TCP" in caplog.text
