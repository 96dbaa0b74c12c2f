"""Requests at the socket's border: what a client sent becomes a typed request, or a failure that names the key."""

import json
from typing import Any

import pytest

from certstore.control.commands.requests import (
    AddUserRequest,
    CommandRequest,
    InitClusterRequest,
    InstallRequest,
    InviteNodeRequest,
    JoinClusterRequest,
    LeaveClusterRequest,
    RollbackRequest,
    SetSiteRequest,
    result_type,
)
from certstore.control.commands.results import InstallResult, ListenerAddress
from certstore.control.commands.table import COMMANDS, parse
from certstore.control.protocol import Fault, Request, RequestFailed
from certstore.model.certificate.dropped_file import DroppedFile
from certstore.model.console.people import Role

HOST = "webmail.client-a.test"
SECRET = b"-----BEGIN PRIVATE KEY-----"
FILES = (DroppedFile("k.pem", SECRET), DroppedFile("odd", bytes(range(256))), DroppedFile("empty", b""))


@pytest.mark.parametrize(
    "request_",
    [
        InstallRequest(HOST, FILES),
        InstallRequest(HOST, FILES, b"", force=True),
        RollbackRequest(HOST),
        RollbackRequest(HOST, 3),
        SetSiteRequest(HOST, {"certificate": None, "additional_names": ["a.test"]}, unset=("inspect",)),
        AddUserRequest("anna", Role.DOMAIN, "long enough", sites=(HOST,)),
        InitClusterRequest({"engine": ["https://a"]}, "/etc", "edge-a", (ListenerAddress("https", "::", 443, True),)),
        InviteNodeRequest({"engine": ["https://a"]}, "/etc", "edge-b", True, ("192.0.2.7",), client="-----BEGIN"),
        JoinClusterRequest({"engine": ["https://a"]}, "/etc", "-----BEGIN", merge=True),
        LeaveClusterRequest({"engine": ["https://a"]}, "/etc"),
    ],
    ids=repr,
)
def test_a_request_arrives_as_it_was_sent(request_: CommandRequest[Any]) -> None:
    sent = json.loads(json.dumps(request_.to_args()))
    assert parse(Request(request_.command, sent)) == request_


def test_requests_look_on_the_wire_as_they_always_did() -> None:
    files = (DroppedFile("k.pem", b"\xfb\xff"),)
    assert InstallRequest(HOST, files, b"x", force=True).to_args() == {
        "site": HOST,
        "files": [{"name": "k.pem", "content": "+/8="}],
        "password": "eA==",
        "force": True,
    }


def failure(command: str, args: dict[str, Any]) -> RequestFailed:
    with pytest.raises(RequestFailed) as caught:
        parse(Request(command, args))
    return caught.value


@pytest.mark.parametrize(
    ("command", "args", "key"),
    [
        ("cert.install", {}, "site"),
        ("cert.install", {"site": HOST}, "files"),
        ("cert.install", {"site": HOST, "files": {}}, "files"),
        ("cert.install", {"site": HOST, "files": [1]}, "files"),
        ("cert.install", {"site": HOST, "files": [{"name": "a"}]}, "content"),
        ("cert.install", {"site": HOST, "files": [{"name": 1, "content": ""}]}, "name"),
        ("cert.install", {"site": HOST, "files": [], "force": "yes"}, "force"),
        ("cert.install", {"site": HOST, "files": [], "password": 3}, "password"),
        ("cert.rollback", {"site": HOST, "version": "2"}, "version"),
        ("cert.rollback", {"site": HOST, "version": True}, "version"),
        ("site.set", {"site": HOST, "add_names": "a.test"}, "add_names"),
        ("site.set", {"site": HOST, "add_names": [1]}, "add_names"),
        ("site.add", {"site": "b.test", "settings": []}, "settings"),
        ("admin.user.add", {"name": "anna", "password": "x", "role": "king"}, "role"),
    ],
)
def test_arguments_of_the_wrong_shape_are_a_bad_request_that_names_the_key(
    command: str, args: dict[str, Any], key: str
) -> None:
    caught = failure(command, args)
    assert caught.fault is Fault.BAD_REQUEST
    assert f"`{key}`" in caught.found


def test_a_command_that_does_not_exist_is_answered_with_those_that_do() -> None:
    caught = failure("fly", {})
    assert caught.fault is Fault.BAD_REQUEST
    assert all(kind.command in caught.found for kind in COMMANDS)


def test_a_content_that_is_not_base64_is_refused_without_being_quoted() -> None:
    caught = failure("cert.install", {"site": HOST, "files": [{"name": "k.pem", "content": SECRET.decode()}]})
    assert caught.fault is Fault.BAD_REQUEST
    assert "PRIVATE" not in str(caught)


@pytest.mark.parametrize("key", ["../main", "a/b", "", ".", "A.test", "x" * 300, "a\0b"])
def test_a_key_that_could_be_a_path_is_refused_wherever_the_request_is_made(key: str) -> None:
    assert failure("cert.install", {"site": key, "files": []}).fault is Fault.INVALID
    with pytest.raises(RequestFailed):
        InstallRequest(key, ())


def test_no_secret_of_a_request_is_shown() -> None:
    shown = repr(InstallRequest(HOST, FILES, b"open sesame")) + repr(AddUserRequest("anna", Role.ADMIN, "open sesame"))
    assert "sesame" not in shown
    assert "PRIVATE" not in shown


def test_a_request_names_its_result() -> None:
    assert result_type(InstallRequest(HOST, ())) is InstallResult
