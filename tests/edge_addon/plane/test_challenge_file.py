"""A worker reads key authorizations from `challenges/`, and nothing else that lies there."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_addon.plane.challenge_file import read_key_authorization

TOKEN = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA"
AUTHORIZATION = f"{TOKEN}.nP1qzpXGymHBrUEepNY9HCsQk7K8KhOypzEt62jcerQ".encode()
PRIVATE_KEY = b"-----BEGIN PRIVATE KEY-----\nMIG\n-----END PRIVATE KEY-----\n"


@pytest.mark.parametrize("content", [AUTHORIZATION, AUTHORIZATION + b"\n", AUTHORIZATION + b"\r\n"])
def test_key_authorization_is_returned_as_written(content: bytes, tmp_path: Path) -> None:
    (tmp_path / TOKEN).write_bytes(content)
    assert read_key_authorization(tmp_path / TOKEN) == content


def _nothing(path: Path) -> None:
    assert not path.exists()


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _folder(path: Path) -> None:
    path.mkdir()


def _link_to_key(path: Path) -> None:
    path.with_name("privkey.pem").write_bytes(PRIVATE_KEY)
    path.symlink_to("privkey.pem")


def _link_to_authorization(path: Path) -> None:
    path.with_name("other").write_bytes(AUTHORIZATION)
    path.symlink_to("other")


def _hard_link_to_key(path: Path) -> None:
    path.with_name("privkey.pem").write_bytes(PRIVATE_KEY)
    path.hardlink_to(path.with_name("privkey.pem"))


def _link_to_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _too_large(path: Path) -> None:
    path.write_bytes(b"a" * 1025)


def _empty(path: Path) -> None:
    path.touch()


@pytest.mark.parametrize(
    "put",
    [
        _nothing,
        _pipe,
        _folder,
        _link_to_key,
        _link_to_authorization,
        _hard_link_to_key,
        _link_to_device,
        _too_large,
        _empty,
    ],
)
def test_anything_else_is_ignored(put: Callable[[Path], None], tmp_path: Path) -> None:
    put(tmp_path / TOKEN)
    assert read_key_authorization(tmp_path / TOKEN) is None
