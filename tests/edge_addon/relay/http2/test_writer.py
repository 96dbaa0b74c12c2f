"""The sending side, read by the h2 library as a client: what the windows of requests' bodies announce."""

from __future__ import annotations

import h2.connection
import h2.events
import pytest

from edge_addon.relay.http2.budget import Costly
from edge_addon.relay.http2.framer import Framer
from edge_addon.relay.http2.hpack import Fields
from edge_addon.relay.http2.windows import CONNECTION_WINDOW, STREAM_WINDOW
from edge_addon.upstream.bounds import Share

BLOCK = b"\x88"
"""`:status: 200`, from the static table."""


class Requests:
    """Takes requests and acknowledges nothing."""

    def request(self, stream_id: int, fields: Fields, *, is_end: bool) -> None: ...

    def trailers(self, stream_id: int, fields: Fields, *, is_end: bool) -> None: ...

    def body(self, stream_id: int, data: bytes, flow_size: int, *, is_end: bool) -> None: ...

    def stream_over(self, stream_id: int, cause: str | None = None) -> None: ...

    def window_opened(self, stream_id: int) -> None: ...

    def client_leaves(self) -> None: ...

    def affords(self, kind: Costly) -> bool:
        return True


@pytest.fixture
def client() -> h2.connection.H2Connection:
    client = h2.connection.H2Connection()
    client.initiate_connection()
    return client


def serving(client: h2.connection.H2Connection, share: Share | None = None) -> Framer:
    """A server that has read the start of a POST on stream 1."""
    framer = Framer(Requests(), 32768, 100, (share,) if share is not None else ())
    fields = [(":method", "POST"), (":scheme", "https"), (":authority", "edge.test"), (":path", "/")]
    client.send_headers(1, fields)
    exchange(client, framer)
    return framer


def exchange(client: h2.connection.H2Connection, framer: Framer) -> list[h2.events.Event]:
    events: list[h2.events.Event] = []
    for _ in range(2):
        assert framer.receive(client.data_to_send()) is None
        events += client.receive_data(framer.data_to_send())
    return events


def windows(client: h2.connection.H2Connection) -> tuple[int, int]:
    """Of stream 1 and of the connection, as the client sees them."""
    return client.streams[1].outbound_flow_control_window, client.outbound_flow_control_window


def send(client: h2.connection.H2Connection, size: int) -> None:
    for _ in range(size // 16384):
        client.send_data(1, bytes(16384))


def test_a_client_learns_both_windows_at_the_start(client: h2.connection.H2Connection) -> None:
    serving(client)
    assert windows(client) == (STREAM_WINDOW, CONNECTION_WINDOW)


def test_what_was_taken_may_be_sent_again(client: h2.connection.H2Connection) -> None:
    framer = serving(client)
    send(client, STREAM_WINDOW)
    exchange(client, framer)
    assert windows(client) == (0, 0)
    framer.acknowledge(1, STREAM_WINDOW)
    exchange(client, framer)
    assert windows(client) == (STREAM_WINDOW, CONNECTION_WINDOW)


def test_what_was_borrowed_is_not_announced_twice(client: h2.connection.H2Connection) -> None:
    share = Share(STREAM_WINDOW, "share")
    framer = serving(client, share)
    send(client, STREAM_WINDOW)
    exchange(client, framer)
    assert framer.inbound.borrow(STREAM_WINDOW) == ""
    framer.give_back(0)
    exchange(client, framer)
    assert (windows(client), share.lent) == ((0, CONNECTION_WINDOW), STREAM_WINDOW)
    framer.acknowledge(1, STREAM_WINDOW, STREAM_WINDOW)
    exchange(client, framer)
    assert (windows(client), share.lent) == ((STREAM_WINDOW, CONNECTION_WINDOW), 0)


def test_a_stream_that_is_over_gives_its_bytes_to_the_connection(client: h2.connection.H2Connection) -> None:
    framer = serving(client)
    send(client, STREAM_WINDOW)
    exchange(client, framer)
    framer.forget(1)
    framer.acknowledge(1, STREAM_WINDOW)
    exchange(client, framer)
    assert client.outbound_flow_control_window == CONNECTION_WINDOW


@pytest.mark.parametrize("size", [0, 1, 16384, 16385, 65535])
def test_a_body_arrives_in_frames_of_the_usual_size(client: h2.connection.H2Connection, size: int) -> None:
    framer = serving(client)
    framer.send_head(1, BLOCK, is_end=False)
    assert framer.send_body(1, bytes(size), is_end=True) == size
    events = exchange(client, framer)
    sizes = [len(event.data or b"") for event in events if isinstance(event, h2.events.DataReceived)]
    assert sum(sizes) == size
    assert max(sizes) <= 16384
    assert [each for each in events if isinstance(each, h2.events.StreamEnded)]


def test_a_body_stops_at_the_clients_window(client: h2.connection.H2Connection) -> None:
    framer = serving(client)
    framer.send_head(1, BLOCK, is_end=False)
    assert framer.send_body(1, bytes(100_000), is_end=True) == 65535
    assert framer.send_body(1, b"x", is_end=True) == 0
    assert framer.send_body(3, b"x", is_end=True) is None
