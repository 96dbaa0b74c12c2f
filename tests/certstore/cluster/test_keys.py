import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from certstore.cluster.keys import ClusterKey, KeyRing, KeysUnusable, NodeKeys, read_keys, remove_keys, write_keys
from certstore.model.cluster.records import Role

RING = KeyRing.draw("edge-a")
FRONT = RING.for_member("edge-c", Role.FRONT, NodeKeys.draw())


def secrets_of(ring: KeyRing) -> list[bytes]:
    keys = [each for key in ring.keys.values() for each in (key.seal_sites, key.seal_control, key.sign) if each]
    return [*keys, ring.own.exchange, ring.own.sign]


@pytest.mark.parametrize("ring", [pytest.param(RING, id="a full node"), pytest.param(FRONT, id="a front")])
def test_keys_come_back_from_their_file(tmp_path: Path, ring: KeyRing) -> None:
    path = tmp_path / "cluster" / "keys.json"
    write_keys(path, ring)
    assert read_keys(path) == ring


def test_only_the_owner_may_read_the_keys_whatever_the_umask(tmp_path: Path) -> None:
    path, before = tmp_path / "cluster" / "keys.json", os.umask(0)
    try:
        write_keys(path, RING)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [each.name for each in path.parent.iterdir()] == ["keys.json"], "nothing else is left"


def test_a_folder_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    folder = tmp_path / "etc"
    folder.mkdir(0o755)
    write_keys(folder / "cluster.json", RING)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    assert stat.S_IMODE((folder / "cluster.json").stat().st_mode) == 0o600


def test_keys_are_replaced_by_one_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cluster" / "keys.json"
    write_keys(path, RING)

    def fail(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(os, "write", fail)
    with pytest.raises(OSError, match="full"):
        write_keys(path, FRONT)
    monkeypatch.undo()
    assert read_keys(path) == RING
    assert [each.name for each in path.parent.iterdir()] == ["keys.json"]


def test_no_two_clusters_share_a_key() -> None:
    other = KeyRing.draw("edge-a")
    assert not set(secrets_of(RING)) & set(secrets_of(other))
    assert len(set(secrets_of(RING))) == 5
    assert RING.cluster != other.cluster


def test_a_front_is_given_nothing_that_signs_or_opens_control_records() -> None:
    key = FRONT.sealing_key
    assert (key.sign, key.seal_control) == (None, None)
    text = json.dumps(FRONT.to_json())
    for secret in (RING.sealing_key.sign, RING.sealing_key.seal_control, RING.own.sign, RING.own.exchange):
        assert secret is not None
        assert secret.hex() not in text
    assert key.seal_sites == RING.sealing_key.seal_sites


def test_a_full_node_is_given_all_but_another_nodes_own_keys() -> None:
    own = NodeKeys.draw()
    ring = RING.for_member("edge-b", Role.EDGE, own)
    assert (ring.keys, ring.cluster, ring.node, ring.own) == (RING.keys, RING.cluster, "edge-b", own)
    assert RING.own.sign.hex() not in json.dumps(ring.to_json())


def test_no_key_is_part_of_a_text_that_is_shown() -> None:
    for text in (repr(RING), str(RING), repr(FRONT), repr(RING.sealing_key), repr(RING.own)):
        for secret in secrets_of(RING):
            assert secret.hex() not in text
            assert repr(secret)[2:-1] not in text


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666, 0o601])
def test_keys_that_others_may_use_are_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "keys.json"
    write_keys(path, RING)
    path.chmod(mode)
    with pytest.raises(KeysUnusable, match="chmod 600"):
        read_keys(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files of root")
@pytest.mark.parametrize(
    ("gid", "mode", "is_usable"),
    [
        pytest.param(0, 0o440, True, id="as systemd passes a credential"),
        pytest.param(0, 0o400, True, id="for root alone"),
        pytest.param(0, 0o640, False, id="a file that root's group may read"),
        pytest.param(0, 0o444, False, id="for everybody"),
        pytest.param(1, 0o440, False, id="for another group"),
    ],
)
def test_a_credential_of_systemd_is_used(tmp_path: Path, gid: int, mode: int, is_usable: bool) -> None:
    path = tmp_path / "keys.json"
    write_keys(path, RING)
    os.chown(path, 0, gid)
    path.chmod(mode)
    if is_usable:
        assert read_keys(path) == RING
    else:
        with pytest.raises(KeysUnusable, match="chmod 600"):
            read_keys(path)


def _without(*names: str) -> Callable[[dict[str, Any]], None]:
    def change(facts: dict[str, Any]) -> None:
        at = facts
        for name in names[:-1]:
            at = at[name]
        del at[names[-1]]

    return change


def _with(value: Any, *names: str) -> Callable[[dict[str, Any]], None]:
    def change(facts: dict[str, Any]) -> None:
        at = facts
        for name in names[:-1]:
            at = at[name]
        at[names[-1]] = value

    return change


KEY = RING.current
DAMAGES = [
    *(pytest.param(_without(name), id=f"without {name}") for name in RING.to_json()),
    *(pytest.param(_without("keys", KEY, name), id=f"without {name}") for name in RING.to_json()["keys"][KEY]),
    pytest.param(_without("own", "sign"), id="without the node's own key"),
    pytest.param(_with("00" * 31, "keys", KEY, "seal_sites"), id="a short key"),
    pytest.param(_with("zz" * 32, "keys", KEY, "seal_sites"), id="a key that is not hexadecimal"),
    pytest.param(_with(7, "keys", KEY, "seal_sites"), id="a number as a key"),
    pytest.param(_with("11" * 32, "keys", KEY, "verify"), id="halves of two keys"),
    pytest.param(_with({}, "keys"), id="no keys"),
    pytest.param(_with("0badcafe", "current"), id="a current key that is not there"),
    pytest.param(_with("witness", "role"), id="an unknown role"),
    pytest.param(_with("../x", "cluster"), id="an id that leads elsewhere"),
    pytest.param(_with("Edge", "node"), id="a name that can't be one"),
    pytest.param(_with(2, "format"), id="the format of another release"),
    pytest.param(_with(None, "keys"), id="null"),
    pytest.param(_with(None, "retired"), id="no list"),
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_refused_without_a_key_in_the_message(
    tmp_path: Path, damage: Callable[[dict[str, Any]], None]
) -> None:
    facts = RING.to_json()
    damage(facts)
    path = tmp_path / "keys.json"
    path.write_text(json.dumps(facts))
    path.chmod(0o600)
    with pytest.raises(KeysUnusable) as unusable:
        read_keys(path)
    assert str(path) in str(unusable.value)
    for secret in secrets_of(RING):
        assert secret.hex() not in str(unusable.value)
    assert unusable.value.__suppress_context__


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b'{"format": 1', id="cut off"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b"\xff", id="not UTF-8"),
        pytest.param(b"[" * 60_000, id="very deep"),
        pytest.param(b" " * 100_000, id="too long"),
    ],
)
def test_what_is_not_a_key_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(KeysUnusable, match=str(path)):
        read_keys(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(KeysUnusable, match="No such file"):
        read_keys(tmp_path / "keys.json")
    with pytest.raises(KeysUnusable, match="not a regular file"):
        read_keys(tmp_path)
    os.mkfifo(tmp_path / "fifo", 0o600)
    with pytest.raises(KeysUnusable, match="not a regular file"):
        read_keys(tmp_path / "fifo")


def test_removing_keys_twice_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    write_keys(path, RING)
    remove_keys(path)
    remove_keys(path)
    assert not path.exists()


def test_a_drawn_key_has_an_id_of_eight_digits() -> None:
    assert len(ClusterKey.draw().key_id) == 8
    assert len(RING.own.sign_public) == len(RING.own.exchange_public) == 64
