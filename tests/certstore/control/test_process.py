import asyncio
import contextlib
import json
import os
import signal
import socket
import stat
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from certstore.control import client, local_socket
from certstore.control import process as control_module
from certstore.control.audit_trail import AuditTrail
from certstore.control.commands.requests import AddSiteRequest, CommandRequest, InstallRequest, ListUsersRequest
from certstore.control.commands.results import InstallResult, Served, SiteResult
from certstore.control.process import CONNECTIONS, REQUEST_SECONDS
from certstore.control.protocol import (
    REQUEST_LIMIT,
    VERSION,
    Fault,
    Request,
    RequestFailed,
    Result,
    decode_answer,
    encode_request,
)
from certstore.model.certificate.dropped_file import DroppedFile
from certstore.model.progress import tell_nobody
from certstore.model.record import Outcome
from certstore.model.settings.models import Settings
from certstore.store.writer import StoreBusy, StoreWriter
from tests.certificates import CertificateAuthority
from tests.certstore.cli.command import open_folder
from tests.certstore.control.control_process import ControlProcess, running_control
from tests.deadlines import wait_for

HOST = "webmail.client-a.test"
CA = CertificateAuthority()


def add_site(control: ControlProcess, site: str = HOST) -> SiteResult:
    return client.call(control.settings, control.folder, AddSiteRequest(site, {"host": site}))


def install(control: ControlProcess, *files: bytes) -> InstallResult:
    dropped = tuple(DroppedFile(f"{number}.pem", content) for number, content in enumerate(files))
    return client.call(control.settings, control.folder, InstallRequest(HOST, dropped))


def served(result: InstallResult) -> Served:
    assert result.served is not None
    return result.served


def wire(request: CommandRequest[Any]) -> Request:
    return Request(request.command, request.to_args())


def answer_to(control: ControlProcess, sent: bytes) -> RequestFailed:
    """The failure with which control answers these bytes."""
    with control.connect() as connection:
        try:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
        except BrokenPipeError:
            pass  # it had read enough
        with connection.makefile("rb") as lines:
            answer = decode_answer(lines.readline())
    assert isinstance(answer, RequestFailed)
    return answer


def test_a_certificate_sent_to_control_is_live_when_the_answer_comes(tmp_path: Path) -> None:
    with running_control(tmp_path) as control:
        add_site(control)
        issued = CA.issue(HOST)
        assert served(install(control, issued.combined_pem)).fingerprint == issued.fingerprint
        assert (control.layout.live(HOST) / "fullchain.pem").read_bytes() == issued.fullchain_pem


def leave_a_dead_socket(path: Path) -> None:
    local_socket.bind_private(path, path.with_name("other")).close()


OBSTACLES: dict[str, Callable[[Path], object]] = {
    "nothing": lambda path: None,
    "a link to nowhere": lambda path: path.symlink_to("/nonexistent"),
    "a file": Path.touch,
    "a dead socket": leave_a_dead_socket,
}


def test_a_socket_that_was_removed_is_created_again(tmp_path: Path) -> None:
    with running_control(tmp_path) as control:
        path = control.layout.control_socket
        for number, put in enumerate(OBSTACLES.values()):
            path.unlink()
            put(path)
            wait_for(lambda: is_answered(path), "control's own socket is there again", seconds=60)
            add_site(control, f"{number}.test")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not path.exists()


def is_answered(path: Path) -> bool:
    connection = local_socket.connect(path, 10)
    if connection is None:
        return False
    connection.close()
    return True


def test_the_socket_is_for_its_owner_alone_and_gone_afterwards(tmp_path: Path) -> None:
    with running_control(tmp_path) as control:
        status = control.layout.control_socket.stat()
        assert stat.S_ISSOCK(status.st_mode)
        assert stat.S_IMODE(status.st_mode) == 0o600
        assert client.control_pid(control.layout) == control.process.pid
    assert not control.layout.control_socket.exists()
    assert client.control_pid(control.layout) is None


def test_a_second_control_is_refused_with_the_pid_of_the_first(tmp_path: Path) -> None:
    with running_control(tmp_path) as control:
        second = ControlProcess(tmp_path)
        assert second.wait() == 1
        assert f"CANNOT SERVE process {control.process.pid} writes the store" in second.stderr
        assert client.control_pid(control.layout) == control.process.pid


def test_a_socket_left_by_a_killed_control_is_replaced(tmp_path: Path) -> None:
    with running_control(tmp_path) as control:
        pass
    killed = ControlProcess(tmp_path)
    killed.wait_ready()
    killed.process.kill()
    killed.wait()
    assert killed.layout.control_socket.exists()
    with running_control(tmp_path) as control:
        add_site(control)


@pytest.mark.parametrize(
    ("sent", "fault"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", Fault.BAD_REQUEST),
        (b"{}\n", Fault.OTHER_VERSION),
        (json.dumps({"version": VERSION, "verb": "rm -rf", "args": {}}).encode() + b"\n", Fault.BAD_REQUEST),
        (b'{"version":1', Fault.BAD_REQUEST),
        (b"\0" * 1000 + b"\n", Fault.BAD_REQUEST),
        (b"x" * (10 << 20), Fault.TOO_LARGE),
    ],
    ids=["http", "no version", "no such verb", "half a line", "zeros", "10 MB"],
)
def test_a_bad_request_is_answered_and_control_serves_on(tmp_path: Path, sent: bytes, fault: Fault) -> None:
    with running_control(tmp_path) as control:
        assert answer_to(control, sent).fault is fault
        add_site(control)


def test_clients_that_say_nothing_hold_nobody_up(tmp_path: Path) -> None:
    with running_control(tmp_path) as control:
        silent = [control.connect() for _ in range(5)]
        silent[0].sendall(b'{"version":')
        add_site(control)
        for connection in silent:
            connection.close()


@pytest.mark.slow
def test_a_client_that_says_nothing_is_let_go(tmp_path: Path) -> None:
    with running_control(tmp_path) as control, control.connect() as silent:
        started = time.monotonic()
        answer = decode_answer(silent.recv(65536))
        assert isinstance(answer, RequestFailed)
        assert "no complete line" in answer.found
        assert silent.recv(1) == b""
        assert REQUEST_SECONDS - 1 < time.monotonic() - started < REQUEST_SECONDS + 10


def test_a_client_that_leaves_after_asking_gets_its_change_all_the_same(tmp_path: Path) -> None:
    with running_control(tmp_path) as control:
        with control.connect() as connection:
            connection.sendall(encode_request(wire(AddSiteRequest(HOST, {"host": HOST}))))
        wait_for(control.layout.site_yaml(HOST).exists, "the site added")
        add_site(control, "other.test")


def test_a_stop_lets_running_requests_finish(tmp_path: Path) -> None:
    with running_control(tmp_path) as control:
        add_site(control)
        issued = CA.issue(HOST)
        request = wire(InstallRequest(HOST, (DroppedFile("a.pem", issued.combined_pem),)))
        with control.connect() as idle, control.connect() as connection:
            connection.sendall(encode_request(request))
            control.process.send_signal(signal.SIGTERM)
            with connection.makefile("rb") as lines:
                answer = decode_answer(lines.readline())
            told = decode_answer(idle.recv(65536))
            assert isinstance(told, RequestFailed)
            assert told.fault is Fault.BUSY
        assert control.wait() == 0, control.stderr
        # The request may have come too late to be read, but never is a change made without its answer.
        is_live = control.layout.live(HOST).exists()
        assert is_live == isinstance(answer, Result)
        with StoreWriter.acquire(control.layout.root) as writer:
            assert (writer.live_version(HOST) is not None) == is_live


def test_hangup_of_a_terminal_does_not_end_it(tmp_path: Path) -> None:
    with running_control(tmp_path) as control:
        control.process.send_signal(signal.SIGHUP)
        add_site(control)


def test_a_full_disk_changes_nothing_and_control_serves_on(tmp_path: Path) -> None:
    """A limit on the size of any file stands in for the full disk: writing fails in the same place."""
    with running_control(tmp_path) as control:
        add_site(control)
        first = install(control, CA.issue(HOST).combined_pem)
    limited = ControlProcess(tmp_path, file_limit=300)
    try:
        limited.wait_ready()
        failed = install(limited, CA.issue(HOST).combined_pem)
        assert failed.outcome is Outcome.FAILED
        assert "nothing was changed" in failed.message
        assert failed.served == first.served
    finally:
        assert limited.stop() == 0
    with running_control(tmp_path) as control:
        assert install(control, CA.issue(HOST).combined_pem).outcome is Outcome.DONE


def test_no_content_of_a_file_reaches_the_log(tmp_path: Path) -> None:
    issued = CA.issue(HOST)
    with running_control(tmp_path) as control:
        add_site(control)
        install(control, issued.combined_pem)
        install(control, CA.issue("somebody.else.test").combined_pem)
        install(control, issued.privkey_pem[:-40], b"secret-marker\n")
        log = control.stderr
    assert "refused" in log
    body = issued.privkey_pem.splitlines()[1].decode()
    assert body not in log
    assert "secret-marker\n" not in log


def test_a_request_of_the_largest_size_is_read_whole(tmp_path: Path) -> None:
    big = (bytes(1_000_000), bytes(1_000_000))
    with running_control(tmp_path) as control:
        add_site(control)
        assert install(control, *big).outcome is Outcome.REFUSED
    request = InstallRequest(HOST, tuple(DroppedFile("a.pem", content) for content in big))
    assert len(encode_request(wire(request))) < REQUEST_LIMIT


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_a_user_who_is_neither_root_nor_owner_is_refused_by_the_peer_credentials() -> None:
    with open_folder() as folder, running_control(folder) as control:
        # Even where somebody opened the file's mode, the kernel's word on the peer counts.
        control.layout.control_socket.chmod(0o666)
        said_end, child_end = socket.socketpair()
        child = os.fork()
        if child == 0:
            try:
                os.setgroups([])
                os.setresgid(65534, 65534, 65534)
                os.setresuid(65534, 65534, 65534)
                with control.connect() as connection:
                    child_end.sendall(connection.recv(65536))
            finally:
                os._exit(0)
        child_end.close()
        said = said_end.recv(65536)
        os.waitpid(child, 0)
        said_end.close()
        answer = decode_answer(said)
        assert isinstance(answer, RequestFailed)
        assert answer.fault is Fault.FORBIDDEN
        control.says("refused process")
        add_site(control)


def test_nobody_else_writes_while_control_runs(tmp_path: Path) -> None:
    with running_control(tmp_path) as control, pytest.raises(StoreBusy):
        StoreWriter.acquire(control.layout.root)


def test_connections_beyond_the_limit_are_answered_busy(tmp_path: Path) -> None:
    with running_control(tmp_path) as control, contextlib.ExitStack() as stack:
        held = [stack.enter_context(control.connect()) for _ in range(CONNECTIONS)]
        assert answer_to(control, b"anything\n").fault is Fault.BUSY
        for connection in held:
            connection.close()
        add_site(control)


def test_users_that_cannot_be_opened_stop_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: StoreWriter) -> None:
        raise ValueError(secret)

    secret = "-----BEGIN PRIVATE KEY-----"
    monkeypatch.setattr(control_module, "_open_access", fail)
    settings = Settings(store=Path("store"))

    async def ask() -> tuple[SiteResult, RequestFailed]:
        with ThreadPoolExecutor(1) as thread, StoreWriter.acquire(tmp_path / "store") as writer:
            control = control_module._Control(writer, thread, AuditTrail())
            async with control.receiving(settings, tmp_path, None):
                added = await control._performed(AddSiteRequest(HOST, {"host": HOST}), tell_nobody)
                with pytest.raises(RequestFailed) as caught:
                    await control._performed(ListUsersRequest(), tell_nobody)
                return added, caught.value

    added, failure = asyncio.run(ask())
    assert added.names == (HOST,)
    assert failure.fault is Fault.STORAGE
    assert "users and tokens can't be read: ValueError at" in caplog.text
    assert secret not in caplog.text


def test_a_waiting_client_gets_a_sign_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Something else holds the writer meanwhile, as a scan of many sites does."""
    monkeypatch.setattr(control_module, "HEARTBEAT_SECONDS", 0.05)
    held, heard = threading.Event(), threading.Event()
    settings = Settings(store=Path("store"))
    request = AddSiteRequest(HOST, {"host": HOST})

    async def ask() -> SiteResult:
        with ThreadPoolExecutor(1) as thread, StoreWriter.acquire(tmp_path / "store") as writer:
            control = control_module._Control(writer, thread, AuditTrail())
            async with control.listening():
                blocker = threading.Thread(target=hold, args=(writer,))
                blocker.start()
                assert held.wait(20)
                result = await asyncio.to_thread(
                    client.call, settings, tmp_path, request, on_progress=lambda _: heard.set()
                )
                blocker.join()
                return result

    def hold(writer: StoreWriter) -> None:
        with writer._lock:
            held.set()
            assert heard.wait(20)

    assert asyncio.run(ask()).names == (HOST,)
    assert heard.is_set()
