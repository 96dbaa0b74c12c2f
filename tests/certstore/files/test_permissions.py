"""The command in messages. That it names what another user can't read is tested in `store/drops/test_reading.py`."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from certstore.files import permissions
from certstore.files.permissions import repair_command

USER = pwd.getpwuid(os.geteuid()).pw_name


def test_readable_folders_on_the_way_are_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    file.write_bytes(b"")
    assert repair_command(file) == (
        f"As root: setfacl -m u:{USER}:r {file} (or make {USER} its owner: chown {USER} {file})"
    )
    assert repair_command(tmp_path).startswith(f"As root: setfacl -m u:{USER}:rx {tmp_path}")


def test_every_shut_folder_on_the_way_is_opened_from_the_outside_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outer = tmp_path / "outer"
    inner = outer / "inner"
    inner.mkdir(parents=True)
    (outer / "link").symlink_to(inner / "key.pem")
    monkeypatch.setattr(permissions, "_is_shut", lambda folder: folder in {outer, inner})
    assert repair_command(outer / "link") == (
        f"As root: setfacl -m u:{USER}:x {outer} && setfacl -m u:{USER}:x {inner} && "
        f"setfacl -m u:{USER}:r {inner}/key.pem"
    )


@pytest.mark.parametrize(
    ("link", "target"),
    [("drop/key.pem", "/etc/shadow"), ("drop/key.pem", "../outside.pem"), ("drop/key.pem", "chain"), ("drop", "/root")],
    ids=["an absolute link", "a relative one", "a link to a link", "a folder"],
)
def test_no_command_for_what_lies_outside_of_the_folder(tmp_path: Path, link: str, target: str) -> None:
    path = tmp_path / "sites" / link
    path.parent.mkdir(parents=True)
    (path.parent / "chain").symlink_to("/etc/gshadow")
    path.symlink_to(target)
    advice = repair_command(path)
    assert "leads out of its folder" in advice
    assert "setfacl" not in advice
    assert "chown" not in advice
    assert "shadow" not in advice


def test_a_name_that_a_terminal_would_obey_is_in_no_command(tmp_path: Path) -> None:
    advice = repair_command(tmp_path / "a\x1b]0;b\x07\nAs root: rm.pem")
    assert advice.isprintable()
    assert "setfacl" not in advice


def test_user_without_a_name_is_a_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000)
    assert "setfacl -m u:4000000:" in repair_command(tmp_path)


def test_repair_command_quotes_what_a_shell_would_take_apart() -> None:
    assert "'/nowhere/$(reboot) key.pem'" in repair_command(Path("/nowhere/$(reboot) key.pem"))
