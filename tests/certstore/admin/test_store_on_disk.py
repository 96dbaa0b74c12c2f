"""The console on a store that became read-only, and on one that is full: answers say what to do, nothing is changed by
halves, and pages and sign-in keep working."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.certstore.admin.browser import hidden, submit, try_sign_in, upload
from tests.certstore.admin.console import PASSWORD, Client
from tests.certstore.control.mounted_control import CA, HOST, MountedControl, fill, mounted_control, needs_mounts
from tests.deadlines import wait_for

pytestmark = needs_mounts


@pytest.fixture
def control(tmp_path: Path) -> Iterator[MountedControl]:
    with mounted_control(tmp_path) as control:
        yield control


@pytest.fixture
def anna(control: MountedControl) -> Client:
    """Signed in by the link that control has logged."""
    found: list[tuple[str, str]] = wait_for(
        lambda: re.findall(r"https://127.0.0.1:(\d+)(/setup\?link=\S+)", control.stderr), "the set-up link", seconds=30
    )
    (port, link) = found[0]
    client = Client(int(port))
    fields = hidden(client.get(link)) | {"name": "anna", "password": PASSWORD, "again": PASSWORD}
    assert client.post_form("/setup", fields).status == 303
    return client


def certificate(host: str) -> list[tuple[str, bytes]]:
    return [("all.pem", CA.issue(host).combined_pem)]


def everything_is_answered(anna: Client, words: str, remedy: str) -> None:
    """What changes something is refused in words; what only looks goes on."""
    added = submit(anna, "/sites/new", {"host": "new.client-b.test", "certificate": "main"})
    assert (added.status, words in added.text) == (503, True)
    assert anna.get("/sites/new.client-b.test").status == 404
    looked = upload(anna, f"/sites/{HOST}/certificate/files", certificate(HOST))
    assert looked.status == 200
    taken = submit(anna, f"/sites/{HOST}/certificate/take", {"key": hidden(looked)["key"]})
    assert (taken.status, words in taken.text) == (422, True)
    token = hidden(anna.get("/profile"))["csrf"]
    path = f"/api/v1/sites/{HOST}"
    removed = anna.send("DELETE", path, X_CSRF_Token=token)
    assert (removed.status, removed.headers["Content-Type"]) == (503, "application/problem+json")
    assert remedy in removed.json["remedy"]
    for path in ("/", f"/sites/{HOST}", "/audit", "/people", "/service", "/api/v1/sites", "/healthz"):
        assert anna.get(path).status == 200, path
    # An administrator has to be able to come in and see it.
    assert try_sign_in(Client(anna.port), "anna", PASSWORD).status == 303


def test_store_that_became_read_only(control: MountedControl, anna: Client) -> None:
    control.become_read_only()
    everything_is_answered(anna, "Read-only file system", "mount it writable")
    control.become_writable()
    looked = upload(anna, f"/sites/{HOST}/certificate/files", certificate(HOST))
    assert submit(anna, f"/sites/{HOST}/certificate/take", {"key": hidden(looked)["key"]}).status == 303
    assert "Version 1 is live" in anna.get(f"/sites/{HOST}").text


def test_store_that_is_full(control: MountedControl, anna: Client) -> None:
    filler = control.inside / "store/filler"
    fill(filler)
    everything_is_answered(anna, "No space left on device", "free some space")
    filler.unlink()
    assert submit(anna, "/sites/new", {"host": "new.client-b.test", "certificate": "main"}).status == 303
