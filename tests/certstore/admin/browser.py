"""Forms as a browser without scripts sends them: the hidden fields of the page, and what the user typed."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from html import unescape
from typing import Any

from tests.certstore.admin.console import PASSWORD, Answer, Client, RunningConsole

_HIDDEN = re.compile(r'<input type="hidden" name="([^"]*)" value="([^"]*)"')


def hidden(page: Answer) -> dict[str, str]:
    """All hidden fields of the page; the first of each name."""
    fields: dict[str, str] = {}
    for name, value in _HIDDEN.findall(page.text):
        fields.setdefault(unescape(name), unescape(value))
    return fields


def sign_in(console: RunningConsole, name: str = "anna", password: str = PASSWORD, code: str = "") -> Client:
    client = console.client()
    answer = try_sign_in(client, name, password, code)
    assert answer.status == 303, answer.text
    return client


def try_sign_in(client: Client, name: str, password: str, code: str = "") -> Answer:
    fields = hidden(client.get("/signin")) | {"name": name, "password": password, "code": code}
    return client.post_form("/signin", fields)


def submit(client: Client, path: str, fields: Mapping[str, Any] | None = None, *, shown: str | None = None) -> Answer:
    """Post to `path` with the CSRF token of the page `shown`."""
    token = hidden(client.get(shown or "/profile"))["csrf"]
    return client.post_form(path, {"csrf": token, **(fields or {})})


def upload(client: Client, path: str, files: Sequence[tuple[str, bytes]], **fields: str) -> Answer:
    """Post files as a form does."""
    return upload_with(hidden(client.get("/profile"))["csrf"], client, path, files, **fields)


def upload_with(token: str, client: Client, path: str, files: Sequence[tuple[str, bytes]], **fields: str) -> Answer:
    """`upload` with a CSRF token that was read earlier."""
    boundary = secrets.token_hex(16)
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in {"csrf": token, **fields}.items()
    ]
    for name, content in files:
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n'
        parts.append(f"{head}Content-Type: application/octet-stream\r\n\r\n".encode() + content + b"\r\n")
    body = b"".join(parts) + f"--{boundary}--\r\n".encode()
    return client.request("POST", path, body, {"Content-Type": f"multipart/form-data; boundary={boundary}"})
