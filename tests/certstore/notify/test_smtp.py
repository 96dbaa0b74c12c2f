"""Delivers messages to a real SMTP server that refuses in every way."""

import contextlib
import threading
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from certstore.model.settings.models import SmtpSettings
from certstore.notify import smtp
from certstore.notify.channel import ChannelFailed
from certstore.notify.smtp import deliver
from tests.peers.mail_server import PASSWORD, MailServer
from tests.ports import free_port, listening_socket


def message(recipient: str = "admin@example.org") -> EmailMessage:
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = "edge@example.org", recipient, "hello"
    made.set_content("text")
    return made


def send(server: MailServer, folder: Path, *messages: EmailMessage, **changes: Any) -> tuple[list[str], list[str]]:
    """Recipients: (accepted, refused)."""
    accepted: list[str] = []
    settings = SmtpSettings.model_validate(server.settings(**changes)["smtp"])
    refused = deliver(settings, folder, messages or [message()], accepted=lambda each: accepted.append(str(each["To"])))
    return accepted, [each.recipient for each in refused]


@pytest.fixture
def trusted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The roots that this process trusts: those of the mail servers in this folder."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "mail-ca.pem"))
    return tmp_path


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_message_goes_with_tls_and_login(trusted: Path, security: str) -> None:
    with MailServer(trusted, security=security, login=security == "starttls") as server:
        assert send(server, trusted) == (["admin@example.org"], [])
        assert [each["Subject"] for each in server.messages] == ["hello"]


def test_plain_server_without_login(tmp_path: Path) -> None:
    with MailServer(tmp_path, security="none", login=False) as server:
        assert send(server, tmp_path)[0] == ["admin@example.org"]


def test_server_that_is_not_trusted_gets_no_password(tmp_path: Path) -> None:
    with MailServer(tmp_path) as server, pytest.raises(ChannelFailed, match="certificate"):
        send(server, tmp_path)
    assert server.messages == []


def test_server_without_starttls_gets_no_message_in_clear(tmp_path: Path) -> None:
    with MailServer(tmp_path, security="none", login=False) as server, pytest.raises(ChannelFailed, match="STARTTLS"):
        send(server, tmp_path, security="starttls")
    assert server.messages == []


def test_password_is_not_sent_in_clear_to_another_host(tmp_path: Path) -> None:
    with MailServer(tmp_path, security="none", login=False) as server, pytest.raises(ChannelFailed, match="TLS"):
        send(server, tmp_path, host="127.1", username="x", password_file="mail-password")


def test_wrong_password_is_reported_without_showing_it(trusted: Path) -> None:
    with MailServer(trusted) as server:
        server.password_file.write_text("wrong " + PASSWORD)
        with pytest.raises(ChannelFailed, match="refused the login") as failed:
            send(server, trusted)
    assert PASSWORD not in str(failed.value)


def test_missing_password_file_is_named(trusted: Path) -> None:
    with MailServer(trusted) as server, pytest.raises(ChannelFailed, match="nowhere"):
        send(server, trusted, password_file="nowhere")


def test_refused_recipient_does_not_stop_the_others(trusted: Path) -> None:
    with MailServer(trusted) as server:
        server.refuse = {"nobody@example.org"}
        accepted, refused = send(server, trusted, message("nobody@example.org"), message("admin@example.org"))
    assert (accepted, refused) == (["admin@example.org"], ["nobody@example.org"])


def test_recipient_that_breaks_the_connection_does_not_stop_the_others(trusted: Path) -> None:
    recipients = ["one@example.org", "hole@example.org", "two@example.org", "nobody@example.org"]
    accepted: list[str] = []
    with MailServer(trusted) as server:
        server.drop, server.refuse = {"hole@example.org"}, {"nobody@example.org"}
        smtp = SmtpSettings.model_validate(server.settings()["smtp"])
        messages = [message(each) for each in recipients]
        with pytest.raises(ChannelFailed, match="421") as failed:
            deliver(smtp, trusted, messages, accepted=lambda each: accepted.append(str(each["To"])))
    assert accepted == ["one@example.org", "two@example.org"]
    assert failed.value.lost == ("hole@example.org",)
    assert [each.recipient for each in failed.value.refused] == ["nobody@example.org"]


def test_server_that_breaks_every_connection_is_soon_left_alone(trusted: Path) -> None:
    with MailServer(trusted) as server:
        server.drop = {f"{number}@example.org" for number in range(9)}
        with pytest.raises(ChannelFailed) as failed:
            send(server, trusted, *(message(each) for each in sorted(server.drop)))
    assert len(failed.value.lost) == 3


def test_server_that_is_not_there(tmp_path: Path) -> None:
    with MailServer(tmp_path) as server, pytest.raises(ChannelFailed, match="refused"):
        send(server, tmp_path, port=free_port())


@pytest.mark.parametrize("security", ["none", "tls"])
@pytest.mark.parametrize("begun", [b"", b"220 here\r\n"], ids=["its greeting", "its answer to EHLO"])
def test_server_that_never_ends_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, security: str, begun: bytes
) -> None:
    monkeypatch.setattr(smtp, "CONVERSATION_SECONDS", 0.5)
    done = threading.Event()
    with listening_socket() as listener:

        def go_on() -> None:
            with listener.accept()[0] as connected, contextlib.suppress(OSError):
                connected.sendall(begun)
                while not done.wait(0.02):
                    connected.sendall(b"220-wait\r\n" if not begun else b"250-wait\r\n")

        thread = threading.Thread(target=go_on)
        thread.start()
        settings = SmtpSettings.model_validate(
            {"host": "127.0.0.1", "port": listener.getsockname()[1], "security": security}
        )
        try:
            with pytest.raises(ChannelFailed):
                deliver(settings, tmp_path, [message()], accepted=lambda each: None)
        finally:
            done.set()
            thread.join()
    assert "mail-deadline" not in {each.name for each in threading.enumerate()}
