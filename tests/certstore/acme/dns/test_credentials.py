"""Credentials files, and messages that must not show what is in them."""

from pathlib import Path

import pytest

from certstore.acme.dns.credentials import HIDDEN, hide, read_credentials, secrets_in
from certstore.acme.dns.zone_writer import CannotWrite

FILE = """# of the provider
auth_token: s3cr3t-t0ken
auth_username = admin@client-a.com
zone_id: "abcd ef"
on: 1
"""


def test_lines_of_either_form_are_read(tmp_path: Path) -> None:
    path = tmp_path / "credentials"
    path.write_text(FILE)
    expected = {"auth_token": "s3cr3t-t0ken", "auth_username": "admin@client-a.com", "zone_id": "abcd ef", "on": "1"}
    assert read_credentials(path) == expected


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"auth_token: a\nhunter2hunter2\n", "line 2 is not `name: value`"),
        (b"\xff\xfe\x00", "it is not plain text"),
        (b"a: b\n" * 20_000, "is longer than"),
    ],
    ids=["no name", "no text", "too long"],
)
def test_a_message_about_the_file_does_not_show_it(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "credentials"
    path.write_bytes(content)
    with pytest.raises(CannotWrite, match=said) as refused:
        read_credentials(path)
    assert "hunter2" not in str(refused.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CannotWrite, match="nowhere can't be read: No such file") as refused:
        read_credentials(tmp_path / "nowhere")
    assert refused.value.needs_person


KNOWN = ("_acme-challenge.client-a.com", "LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0")
SECRETS = secrets_in(FILE)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("token s3cr3t-t0ken refused", f"token {HIDDEN} refused"),
        ("login admin@client-a.com", f"login {HIDDEN}"),
        ("zone abcd ef", f"zone {HIDDEN}"),
        ("Authorization: Bearer abc.def", f"Authorization: {HIDDEN}"),
        ("password=hunter2 was wrong", f"password={HIDDEN} was wrong"),
        ("https://user:pass1@dns.test/zone", f"https://{HIDDEN}@dns.test/zone"),
        ("https://dns.test/?api_key=12345&x=1", f"https://dns.test/?api_key={HIDDEN}&x=1"),
        ("got 9f86d081884c7d659a2feaa0c55ad015", f"got {HIDDEN}"),
        (f"added {KNOWN[1]} at {KNOWN[0]}", f"added {KNOWN[1]} at {KNOWN[0]}"),
        ("/usr/local/share/certificates/hook: not found", "/usr/local/share/certificates/hook: not found"),
        ("exit status 1", "exit status 1"),
    ],
)
def test_what_looks_like_a_credential_is_hidden_and_other_text_stays(said: str, shown: str) -> None:
    assert hide(said, SECRETS, KNOWN) == shown
