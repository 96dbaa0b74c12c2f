"""The demo's servers answer the clients of the standard library."""

import imaplib
import smtplib
import socket
from collections.abc import Iterator
from http.client import HTTPConnection

import pytest

from edge_addon.demo.stand_ins import Ports, stand_ins


@pytest.fixture
def ports() -> Iterator[Ports]:
    with stand_ins() as ports:
        yield ports


def test_web_server_shows_what_arrived_and_keeps_the_connection(ports: Ports) -> None:
    connection = HTTPConnection("127.0.0.1", ports.web, timeout=60)
    for target in ("/first", "/second"):
        connection.request("GET", target, headers={"Host": "webmail.client-a.test", "X-Forwarded-For": "192.0.2.1"})
        body = connection.getresponse().read().decode()
        assert f"GET {target}" in body
        assert "Host: webmail.client-a.test" in body
        assert "X-Forwarded-For: 192.0.2.1" in body
    connection.close()


def test_web_server_reads_a_posted_body_before_the_next_request(ports: Ports) -> None:
    connection = HTTPConnection("127.0.0.1", ports.web, timeout=60)
    connection.request("POST", "/form", body=b"GET /smuggled HTTP/1.1\r\n\r\n")
    assert b"POST /form" in connection.getresponse().read()
    connection.request("HEAD", "/after")
    response = connection.getresponse()
    assert (response.status, response.read()) == (200, b"")
    connection.close()


def test_imap_server_lets_a_client_log_in_and_out(ports: Ports) -> None:
    with imaplib.IMAP4("127.0.0.1", ports.imap, timeout=60) as client:
        assert client.login("somebody", "something")[0] == "OK"
        assert client.noop()[0] == "OK"
        with pytest.raises(imaplib.IMAP4.error, match="CAPABILITY"):
            client.select()


def test_smtp_server_greets_and_takes_no_mail(ports: Ports) -> None:
    with smtplib.SMTP("127.0.0.1", ports.smtp, timeout=60) as client:
        assert client.ehlo()[0] == 250
        assert client.has_extn("auth")
        assert client.mail("a@example.org")[0] == 502


def test_client_that_vanishes_disturbs_nobody(ports: Ports) -> None:
    for port in (ports.imap, ports.smtp):
        socket.create_connection(("127.0.0.1", port), timeout=60).close()
    with smtplib.SMTP("127.0.0.1", ports.smtp, timeout=60) as client:
        assert client.noop()[0] == 250
