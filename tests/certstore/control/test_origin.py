"""Which Unix user gives a command."""

import os
import pwd
import subprocess
import sys

import pytest

from certstore.control import origin


def test_user_of_a_process_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(origin, "_login_uid", lambda pid: None)
    assert origin.unix_user(os.getuid(), os.getpid()) == f"unix {pwd.getpwuid(os.getuid()).pw_name}"
    assert origin.unix_user(4_000_000, os.getpid()) == "unix uid 4000000"


def test_user_who_signed_in_is_named_beside_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(origin, "_login_uid", lambda pid: 4_000_000)
    assert origin.unix_user(0, os.getpid()) == "unix root, signed in as uid 4000000"
    assert origin.unix_user(4_000_000, os.getpid()) == "unix uid 4000000"


def test_process_that_has_ended_has_its_user_all_the_same() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    assert origin.unix_user(0, ended.pid) == "unix root"
