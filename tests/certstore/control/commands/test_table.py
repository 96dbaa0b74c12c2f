"""One table, one dispatcher, one translation of errors."""

import errno
import logging
import sys
from typing import Any

import pytest

from certstore.acme.network import OrderFailed
from certstore.acme.order_context import Interrupted
from certstore.control.commands import requests, table
from certstore.control.commands.requests import CommandRequest, OrderRequest, RollbackRequest
from certstore.control.commands.table import COMMANDS, Command, Runs, perform
from certstore.control.protocol import Fault, RequestFailed
from certstore.model.console.people import InvalidPerson
from certstore.model.renewal.failure import Cause, Failure
from certstore.notify.channel import ChannelFailed
from certstore.people.users import UnknownUser
from certstore.renewal.loop import SiteBusy
from certstore.store.errors import InvalidSite, NotWritable, UnknownSite, UnknownVersion

NO_SPACE = OSError(errno.ENOSPC, "No space left on device", "/store/x")
STORE, NETWORK = RollbackRequest("a.test"), OrderRequest("a.test")


def failure(monkeypatch: pytest.MonkeyPatch, request: CommandRequest[Any], error: Exception) -> RequestFailed:
    """What a command that ends in this error becomes."""

    def act(*_: object) -> Any:
        raise error

    monkeypatch.setattr(table, "COMMANDS", {type(request): Command(act, COMMANDS[type(request)].runs)})
    with pytest.raises(RequestFailed) as caught:
        perform(None, request)
    return caught.value


@pytest.mark.parametrize(
    ("request_", "error", "fault", "words"),
    [
        (STORE, UnknownSite("a.test"), Fault.NOT_FOUND, "certedge site list"),
        (STORE, UnknownVersion("a.test has no version 9"), Fault.NOT_FOUND, "certedge cert history a.test"),
        (STORE, InvalidSite("a bad key"), Fault.INVALID, "a bad key"),
        (STORE, NotWritable("site.yaml is read-only"), Fault.STORAGE, "read-only"),
        (STORE, NO_SPACE, Fault.STORAGE, "/store/x: No space left on device; free some space"),
        (NETWORK, NO_SPACE, Fault.STORAGE, "free some space"),
        (NETWORK, UnknownSite("a.test"), Fault.NOT_FOUND, "there is no site"),
        (NETWORK, NotWritable("site.yaml is read-only"), Fault.STORAGE, "read-only"),
        (NETWORK, SiteBusy("a.test"), Fault.BUSY, "a.test"),
        (NETWORK, Interrupted(), Fault.BUSY, "certedge status"),
        (NETWORK, OrderFailed(Failure(Cause.CAA, "CAA forbids it")), Fault.REFUSED, "CAA forbids it"),
        (NETWORK, ChannelFailed("mail.test: refused"), Fault.UNREACHABLE, "mail.test: refused"),
        (requests.RemoveUserRequest("anna"), UnknownUser("anna"), Fault.NOT_FOUND, "anna"),
        (requests.RemoveUserRequest("anna"), InvalidPerson("the last administrator"), Fault.INVALID, "the last"),
    ],
)
def test_every_foreseen_error_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, request_: CommandRequest[Any], error: Exception, fault: Fault, words: str
) -> None:
    caught = failure(monkeypatch, request_, error)
    assert caught.fault is fault
    assert words in str(caught)


@pytest.mark.parametrize("request_", [STORE, NETWORK], ids=lambda request: request.command)
def test_an_unforeseen_error_is_logged_by_place_and_kind_without_its_message(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, request_: CommandRequest[Any]
) -> None:
    with caplog.at_level(logging.ERROR):
        caught = failure(monkeypatch, request_, ZeroDivisionError("-----BEGIN PRIVATE KEY-----"))
    assert caught.fault is Fault.INTERNAL
    assert "ZeroDivisionError" in caught.found
    assert "test_table.py" in caplog.text
    assert "PRIVATE" not in caplog.text + str(caught)


def test_every_request_has_one_command_and_every_name_is_used_once() -> None:
    made = {each for each in vars(requests).values() if isinstance(each, type) and hasattr(each, "command")}
    assert set(COMMANDS) == made
    names = [kind.command for kind in COMMANDS if kind.is_remote]
    assert len(names) == len(set(names))


def test_only_commands_on_the_network_leave_the_writers_thread_to_wait() -> None:
    assert {kind.command for kind, command in COMMANDS.items() if command.runs is Runs.NETWORK} == {
        "cert.request",
        "cert.renew",
        "site.preflight",
        "account.show",
        "account.register",
        "notify.test",
        "cert.import",
        "cert.revoke",
        "account.rollover",
        "account.adopt",
    }


@pytest.mark.parametrize("kind", COMMANDS, ids=lambda kind: kind.command)
def test_what_a_command_imports_when_it_runs_is_there(kind: type[CommandRequest[Any]]) -> None:
    table.load(kind.__new__(kind))
    assert set(COMMANDS[kind].needs) <= sys.modules.keys()
