import os
import pwd
import signal
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from certstore.control import client
from certstore.control.client import Owner
from certstore.control.commands.requests import AddSiteRequest, RemoveSiteRequest
from certstore.control.commands.results import SiteResult
from certstore.control.protocol import Fault, RequestFailed
from certstore.model.layout import Layout
from certstore.model.settings.models import Settings
from certstore.store.writer import StoreWriter
from tests.certificates import CertificateAuthority
from tests.certstore.cli.command import certedge, open_folder, write_edge
from tests.certstore.control.control_process import ControlProcess, running_control

HOST = "webmail.client-a.test"
CA = CertificateAuthority()
SETTINGS = Settings(store=Path("store"))
SITE = AddSiteRequest(HOST, {"host": HOST})
NOBODY = pwd.getpwnam("nobody")

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")


def test_without_control_the_change_is_made_under_the_lock(tmp_path: Path) -> None:
    write_edge(tmp_path)
    facts = client.call(SETTINGS, tmp_path, SITE)
    assert facts.names == (HOST,)
    with StoreWriter.acquire(tmp_path / "store") as writer:
        assert HOST in writer.sites()


def test_both_ways_give_the_same_facts(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    write_edge(tmp_path / "one")
    alone = client.call(SETTINGS, tmp_path / "one", SITE)
    with running_control(tmp_path / "other") as control:
        asked = client.call(SETTINGS, control.folder, SITE)
    assert alone.served is not None
    assert asked.served is not None
    self_signed = alone.served.fingerprint
    assert replace(asked, served=replace(asked.served, fingerprint=self_signed)) == alone


def test_a_socket_that_a_killed_control_left_is_no_obstacle(tmp_path: Path) -> None:
    write_edge(tmp_path)
    killed = ControlProcess(tmp_path)
    killed.wait_ready()
    killed.process.kill()
    killed.wait()
    assert killed.layout.control_socket.exists()
    assert client.call(SETTINGS, tmp_path, SITE).names == (HOST,)


def test_a_writer_that_takes_no_requests_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_edge(tmp_path)
    monkeypatch.setattr(client, "BUSY_SECONDS", 0.1)
    with StoreWriter.acquire(tmp_path / "store"), pytest.raises(RequestFailed) as caught:
        client.call(SETTINGS, tmp_path, SITE)
    assert caught.value.fault is Fault.BUSY
    assert f"process {os.getpid()} writes the store" in caught.value.found


def test_a_command_waits_for_another_one_to_finish(tmp_path: Path) -> None:
    write_edge(tmp_path)
    facts: list[SiteResult] = []
    with StoreWriter.acquire(tmp_path / "store"):
        waiting = threading.Thread(target=lambda: facts.append(client.call(SETTINGS, tmp_path, SITE)))
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive()
    waiting.join(30)
    assert facts[0].names == (HOST,)


def test_a_store_with_a_path_longer_than_a_socket_address_is_served_too(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    with running_control(deep) as control:
        assert len(str(control.layout.control_socket)) > 107
        assert client.control_pid(control.layout) == control.process.pid
        assert client.call(SETTINGS, deep, SITE).names == (HOST,)


def test_no_store_is_created_if_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(RequestFailed) as caught:
        client.call(SETTINGS, tmp_path, SITE)
    assert caught.value.fault is Fault.NOT_FOUND
    assert not (tmp_path / "store").exists()


def test_a_failure_of_the_command_reaches_the_caller(tmp_path: Path) -> None:
    with running_control(tmp_path), pytest.raises(RequestFailed) as caught:
        client.call(SETTINGS, tmp_path, RemoveSiteRequest(HOST))
    assert caught.value.fault is Fault.NOT_FOUND


def test_a_user_without_an_entry_is_named_by_its_number(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        os.chown(tmp_path, 54321, 54321)
        assert Owner.of(tmp_path) == Owner(54321, 54321, "uid 54321")
    else:
        assert Owner.of(tmp_path).uid == os.geteuid()


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder with a store that every user can enter."""
    with open_folder() as folder:
        write_edge(folder)
        yield folder


def give_to(folder: Path, uid: int, gid: int) -> None:
    subprocess.run(["chown", "-R", f"{uid}:{gid}", folder / "store"], check=True)


@needs_root
@pytest.mark.parametrize("uid", [NOBODY.pw_uid, 54321], ids=["a user with an entry", "a mere number"])
def test_root_leaves_nothing_of_its_own_in_the_store_of_another_user(shared: Path, uid: int) -> None:
    give_to(shared, uid, uid)
    issued = CA.issue(HOST)
    readable_by_root_alone = shared / "all.pem"
    readable_by_root_alone.write_bytes(issued.combined_pem)
    readable_by_root_alone.chmod(0o600)
    assert certedge(shared, "site", "add", HOST).code == 0
    ran = certedge(shared, "cert", "install", HOST, "--pem", readable_by_root_alone)
    assert ran.code == 0, ran.err
    assert (Layout(shared / "store").live(HOST) / "fullchain.pem").read_bytes() == issued.fullchain_pem
    owners = {path: path.lstat().st_uid for path in (shared / "store").rglob("*")}
    assert len(owners) > 10
    assert {path for path, owner in owners.items() if owner != uid} == set()


@needs_root
def test_a_failure_in_the_store_of_another_user_is_reported_like_any_other(shared: Path) -> None:
    give_to(shared, NOBODY.pw_uid, NOBODY.pw_gid)
    ran = certedge(shared, "site", "remove", HOST, "--yes")
    assert ran.code == 1
    assert f"there is no site {HOST}" in ran.err


@needs_root
def test_root_asks_the_control_of_another_user(shared: Path) -> None:
    give_to(shared, NOBODY.pw_uid, NOBODY.pw_gid)
    control = ControlProcess(shared, user=NOBODY.pw_uid)
    try:
        control.wait_ready()
        assert certedge(shared, "site", "add", HOST).code == 0
        assert control.layout.site_yaml(HOST).stat().st_uid == NOBODY.pw_uid
    finally:
        assert control.stop() == 0


@needs_root
def test_a_user_who_is_neither_root_nor_owner_is_refused_with_a_remedy(shared: Path) -> None:
    give_to(shared, 0, 0)
    ran = certedge(shared, "site", "add", HOST, user=NOBODY.pw_uid)
    assert ran.code == 1
    assert "belongs to root, and you are neither that user nor root" in ran.err
    assert "sudo" in ran.err
    assert not (shared / "store/domains").exists()


def test_a_control_that_hangs_is_reported_and_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "SILENCE_SECONDS", 0.3)
    with running_control(tmp_path) as control:
        control.process.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(RequestFailed) as caught:
                client.call(SETTINGS, tmp_path, SITE)
        finally:
            control.process.send_signal(signal.SIGCONT)
    assert caught.value.fault is Fault.UNREACHABLE
    assert f"(pid {control.process.pid}) has not answered" in caught.value.found


def test_a_change_asked_of_an_ending_control_is_made_after_it(tmp_path: Path) -> None:
    """Control stops and holds the store's lock to its end; then the command continues by itself."""
    with running_control(tmp_path) as control:
        idle = control.connect()
        control.process.send_signal(signal.SIGTERM)
        assert client.call(SETTINGS, tmp_path, SITE).names == (HOST,)
        idle.close()
