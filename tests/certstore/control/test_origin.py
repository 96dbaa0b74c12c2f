"""Which Unix user gives a command."""

import os
import pwd
from pathlib import Path

import pytest

from certstore.control.origin import own_login, unix_user

ME = os.getuid()


@pytest.mark.parametrize(
    ("uid", "signed_in", "who"),
    [
        (ME, None, f"unix {pwd.getpwuid(ME).pw_name}"),
        (0, 0, "unix root"),
        (0, 4_000_000, "unix root, signed in as uid 4000000"),
        (4_000_000, 4_000_000, "unix uid 4000000"),
    ],
)
def test_user_and_who_signed_in_are_named(uid: int, signed_in: int | None, who: str) -> None:
    assert unix_user(uid, signed_in) == who


def test_who_signed_in_is_asked_of_the_system() -> None:
    login = Path("/proc/self/loginuid")
    said = int(login.read_text()) if login.exists() else 2**32 - 1
    assert own_login() == (None if said == 2**32 - 1 else said)
