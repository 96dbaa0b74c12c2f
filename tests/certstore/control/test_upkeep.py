"""Problems of the service reach the operators, from a real store to a real mail server."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certstore.control.upkeep import Upkeep
from certstore.model.service_state import ServiceState, Verdict
from certstore.model.settings.models import Settings
from certstore.monitoring.service_report import start_of, write_report
from tests.certstore.stores import acquire
from tests.peers.mail_server import MailServer

MINUTE = timedelta(minutes=1)


def test_listener_that_serves_a_part_is_mailed_once_it_lasts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "mail-ca.pem"))
    now = begin = datetime.now(UTC)
    with MailServer(tmp_path) as server, acquire(tmp_path) as writer:
        upkeep = Upkeep(writer, Settings.model_validate({"notify": server.settings()}), tmp_path, clock=lambda: now)
        pid, half = os.getpid(), ("0.0.0.0:443 serves IPv4 only",)
        state = ServiceState(pid, start_of(pid), "/etc/edge.yaml", "d", begin, 1, 1, Verdict.SERVING, "", half)
        write_report(writer.layout, state)
        for _ in range(12):
            upkeep.notifier.round()
            now += MINUTE
        upkeep.notifier.stop()
        upkeep.maintenance.stop()
    (message,) = server.messages
    assert "Problem of the service: a listener serves only a part" in str(message["Subject"])
    assert "0.0.0.0:443 serves IPv4 only" in message.get_body(("plain",)).get_content()  # type: ignore[union-attr]
