"""The demo's servers answer the clients of the standard library."""

import imaplib
import smtplib
import socket
from collections.abc import Iterator
from http.client import HTTPConnection

import pytest

from edge_addon.demo.stand_ins import StandIns


@pytest.fixture
def stand_ins() -> Iterator[StandIns]:
    with StandIns() as servers:
        yield servers


def test_web_server_shows_what_arrived_and_keeps_the_connection(stand_ins: StandIns) -> None:
    connection = HTTPConnection("127.0.0.1", stand_ins.web_port, timeout=10)
    for target in ("/first", "/second"):
        connection.request("GET", target, headers={"Host": "webmail.client-a.test", "X-Forwarded-For": "192.0.2.1"})
        body = connection.getresponse().read().decode()
        assert f"GET {target}" in body
        assert "Host: webmail.client-a.test" in body
        assert "X-Forwarded-For: 192.0.2.1" in body
    connection.close()


def test_web_server_reads_a_posted_body_before_the_next_request(stand_ins: StandIns) -> None:
    connection = HTTPConnection("127.0.0.1", stand_ins.web_port, timeout=10)
    connection.request("POST", "/form", body=b"GET /smuggled HTTP/1.1\r\n\r\n")
    assert b"POST /form" in connection.getresponse().read()
    connection.request("HEAD", "/after")
    response = connection.getresponse()
    assert (response.status, response.read()) == (200, b"")
    connection.close()


def test_imap_server_lets_a_client_log_in_and_out(stand_ins: StandIns) -> None:
    with imaplib.IMAP4("127.0.0.1", stand_ins.imap_port, timeout=10) as client:
        assert client.login("somebody", "something")[0] == "OK"
        assert client.noop()[0] == "OK"
        with pytest.raises(imaplib.IMAP4.error, match="CAPABILITY"):
            client.select()


def test_smtp_server_greets_and_takes_no_mail(stand_ins: StandIns) -> None:
    with smtplib.SMTP("127.0.0.1", stand_ins.smtp_port, timeout=10) as client:
        assert client.ehlo()[0] == 250
        assert client.has_extn("auth")
        assert client.mail("a@example.org")[0] == 502


def test_client_that_vanishes_disturbs_nobody(stand_ins: StandIns) -> None:
    for port in (stand_ins.imap_port, stand_ins.smtp_port):
        socket.create_connection(("127.0.0.1", port), timeout=10).close()
    with smtplib.SMTP("127.0.0.1", stand_ins.smtp_port, timeout=10) as client:
        assert client.noop()[0] == 250
