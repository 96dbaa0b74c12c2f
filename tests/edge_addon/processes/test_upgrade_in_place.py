"""SIGUSR2: the release that is installed now takes over the supervisor's process, and no client notices.

Releases lie in folders of their own behind one link, as the Debian package keeps them.
"""

import compileall
import contextlib
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tests.certstore.cli.command import certedge
from tests.deadlines import wait_for
from tests.edge_addon.clients import REQUEST, Client, SlowUpstream, holder, is_gone, is_refused
from tests.ports import free_port
from tests.running import RunningEdge, running_edge

pytestmark = pytest.mark.timeout(600)
ROOT = Path(__file__).parents[3]
SECONDS = 250.0
"""Much may run beside: the trial imports everything, and compiles what was changed."""
SCRIPT = """#!{python}
import sys
sys.path.insert(0, {folder!r})
from edge_addon.cli import main
sys.exit(main())
"""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program with its bytecode, as a package installs it: a trial imports every module."""
    folder = tmp_path_factory.mktemp("compiled")
    for package in "certstore", "edge_addon":
        shutil.copytree(ROOT / package, folder / package)
        assert compileall.compile_dir(folder / package, quiet=1)
    return folder


class Releases:
    """Copies of the program, and `certedge`, a link to the one that is installed."""

    def __init__(self, folder: Path, compiled: Path) -> None:
        self._folder = folder
        self._compiled = compiled
        folder.mkdir()
        self.link = folder / "certedge"
        self.add("1.0")
        self.install("1.0")

    def add(self, release: str) -> Path:
        folder = self._folder / release
        for package in "certstore", "edge_addon":
            shutil.copytree(self._compiled / package, folder / package)
        facts = folder / f"mitmproxy_edge-{release}.dist-info"
        facts.mkdir()
        (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: mitmproxy-edge\nVersion: {release}\n")
        script = folder / "certedge"
        script.write_text(SCRIPT.format(python=sys.executable, folder=str(folder)))
        script.chmod(0o755)
        return folder

    def install(self, release: str) -> None:
        new = self._folder / "certedge.new"
        new.symlink_to(self._folder / release / "certedge")
        new.rename(self.link)


@pytest.fixture
def releases(tmp_path: Path, compiled: Path) -> Releases:
    return Releases(tmp_path / "releases", compiled)


@pytest.fixture
def edge(tmp_path: Path, releases: Releases) -> Iterator[RunningEdge]:
    settings = {"listeners": [{"kind": "http"}, {"kind": "http", "listen": f"127.0.0.1:{free_port()}"}], "workers": 2}
    with running_edge(tmp_path, settings, program=[str(releases.link)]) as running:
        yield running


def upgrade(edge: RunningEdge) -> None:
    """Ask, and wait until it serves again, whichever release does."""
    before = times_ready(edge)
    edge.send_signal(signal.SIGUSR2)
    wait_for(lambda: times_ready(edge) > before, "the upgrade", seconds=SECONDS)


def times_ready(edge: RunningEdge) -> int:
    return sum("READY=1" in each for each in edge.notified())


def reload(edge: RunningEdge, *words: str) -> subprocess.CompletedProcess[str]:
    """The command of the tests' own program, which is another than the service's."""
    command = [sys.executable, "-m", "edge_addon.cli", "--config", str(edge.config), "reload", *words]
    patiently = [*command, "--timeout", f"{SECONDS:g}"]
    return subprocess.run(patiently, cwd=ROOT, capture_output=True, text=True, check=False, timeout=SECONDS + 30)


def running_release(edge: RunningEdge) -> str:
    shown: str = certedge(edge.folder, "status", "--json").json["service"]["installation"]
    return shown.partition(" in ")[0]


@contextlib.contextmanager
def crowd(ports: list[int]) -> Iterator[list[str]]:
    """Clients that connect, ask and leave again and again; what went wrong for them."""
    failures: list[str] = []
    stop = threading.Event()

    def keep_asking(port: int) -> None:
        while not stop.is_set():
            try:
                with Client(port) as client:
                    if not client.is_served():
                        failures.append("no answer")
            except OSError as error:
                failures.append(repr(error))

    threads = [threading.Thread(target=keep_asking, args=(port,)) for port in ports * 2]
    for each in threads:
        each.start()
    try:
        yield failures
    finally:
        stop.set()
        for each in threads:
            each.join()


@pytest.mark.slow
def test_upgrade_and_downgrade_lose_no_connection_and_keep_the_pid(edge: RunningEdge, releases: Releases) -> None:
    before = {edge.control_pid(), *edge.worker_pids()}
    releases.add("2.0")
    ports = [edge.port("http", 0), edge.port("http", 1)]
    with crowd(ports) as failures, Client(ports[0]) as open_all_along:
        assert open_all_along.is_served()
        old = holder(edge, open_all_along)
        for release in "2.0", "1.0", "2.0":
            releases.install(release)
            upgrade(edge)
            assert running_release(edge) == release
            wait_for(lambda: is_gone(old), "the old worker to end")
            assert failures == []
    assert edge.process.poll() is None
    wait_for(lambda: len(edge.worker_pids()) == 2, "the old workers to end")
    assert not before & {edge.control_pid(), *edge.worker_pids()}
    # The same sockets, and systemd's variables did not get lost: a reload and a stop still work.
    edge.reload()
    with Client(ports[1]) as client:
        assert client.is_served()
    assert edge.stop() == 0
    assert is_refused(ports[0])


def test_request_under_way_finishes_on_the_old_release(tmp_path: Path, releases: Releases) -> None:
    with SlowUpstream() as upstream:
        settings = {"listeners": [{"kind": "http"}], "upstream": upstream.url, "http": {"redirect_to_https": False}}
        with (
            running_edge(tmp_path, settings, program=[str(releases.link)]) as edge,
            Client(edge.port("http")) as client,
        ):
            client.socket.sendall(REQUEST)
            assert upstream.asked.wait(15)
            old = holder(edge, client)
            releases.add("2.0")
            releases.install("2.0")
            upgrade(edge)
            assert old in edge.worker_pids()
            upstream.release.set()
            assert client.read_answer().startswith(b"HTTP/1.1 200")
            wait_for(lambda: is_gone(old), "the old worker to end")


def break_import(folder: Path) -> str:
    (folder / "certstore" / "admin" / "app.py").write_text("import no_such_module\n")
    return "no_such_module"


def break_package(folder: Path) -> str:
    shutil.rmtree(folder / "edge_addon")
    (folder / "edge_addon").mkdir()
    (folder / "edge_addon" / "__init__.py").write_text("")
    return "No module named 'edge_addon.cli'"


def break_interpreter(folder: Path) -> str:
    (folder / "certedge").write_text("#!/no/such/python\n")
    return "can't be started"


def crash_at_start(folder: Path) -> str:
    (folder / "edge_addon" / "cli.py").write_text("import os\nos.abort()\n")
    return "SIGABRT"


@pytest.mark.parametrize("damage", [break_import, break_package, break_interpreter, crash_at_start])
def test_release_that_does_not_start_changes_nothing(
    edge: RunningEdge, releases: Releases, damage: Callable[[Path], str]
) -> None:
    before = {edge.control_pid(), *edge.worker_pids()}
    said = damage(releases.add("2.0"))
    releases.install("2.0")
    ran = reload(edge, "--upgrade")
    assert ran.returncode == 1
    assert said in ran.stderr
    assert "continues" in ran.stderr
    assert {edge.control_pid(), *edge.worker_pids()} == before
    assert running_release(edge) == "1.0"
    with Client(edge.port("http")) as client:
        assert client.is_served()
    # Once mended, it takes over.
    shutil.rmtree(edge.folder / "releases" / "2.0")
    releases.add("2.0")
    assert reload(edge, "--upgrade").returncode == 0
    assert running_release(edge) == "2.0"


def test_release_that_fails_after_its_trial_gives_the_process_back(edge: RunningEdge, releases: Releases) -> None:
    supervisor = releases.add("2.0") / "edge_addon" / "processes" / "supervisor.py"
    text = supervisor.read_text()
    where = "        running, refused = settings_in"
    assert where in text
    supervisor.write_text(text.replace(where, f"        raise LookupError('lost')\n{where}"))
    releases.install("2.0")
    ran = reload(edge, "--upgrade")
    assert ran.returncode == 1
    assert "LookupError: lost" in ran.stderr
    assert running_release(edge) == "1.0"
    wait_for(lambda: len(edge.worker_pids()) == 2, "the workers of the release that came back")
    with Client(edge.port("http")) as client:
        assert client.is_served()
    log = edge.stderr
    edge.log.write_text(log.replace("Traceback", "traceback"))  # this one was expected
    # The release that came back still finds the one that is installed.
    supervisor.write_text(text)
    assert reload(edge, "--upgrade").returncode == 0
    assert running_release(edge) == "2.0"


def test_settings_that_the_new_release_can_not_use_are_named_and_the_old_one_continues(
    edge: RunningEdge, releases: Releases
) -> None:
    releases.add("2.0")
    releases.install("2.0")
    settings = edge.config.read_text()
    edge.config.write_text(settings + "no_such_key: 1\n")
    edge.send_signal(signal.SIGUSR2)
    wait_for(
        lambda: "can't take over" in edge.stderr or "continuing with" in edge.stderr, "the refusal", seconds=SECONDS
    )
    assert "no_such_key" in edge.stderr
    assert running_release_by_cmdline(edge) == "1.0"
    edge.config.write_text(settings)
    upgrade(edge)
    assert running_release(edge) == "2.0"


def running_release_by_cmdline(edge: RunningEdge) -> str:
    """By the report, as the command line reads it only with settings that it can use."""
    report = next((edge.store / "state").rglob("service*.json"))
    found: str = yaml.safe_load(report.read_text())["installation"]
    return found.partition(" in ")[0]


@pytest.mark.parametrize("at", ["the trial", "the takeover"])
def test_supervisor_killed_while_it_upgrades_leaves_workers_that_drain(
    tmp_path: Path, edge: RunningEdge, releases: Releases, at: str
) -> None:
    waiting, go_on = tmp_path / "waiting", tmp_path / "go-on"
    variable = "CERTEDGE_TRY_HANDOVER" if at == "the trial" else "CERTEDGE_HANDOVER"
    hold = (
        f"import os, time\nif {variable!r} in os.environ:\n    open({str(waiting)!r}, 'w').close()\n"
        f"    while not os.path.exists({str(go_on)!r}): time.sleep(0.01)\n"
    )
    cli = releases.add("2.0") / "edge_addon" / "__init__.py"
    cli.write_text(hold + cli.read_text())
    releases.install("2.0")
    workers = [edge.control_pid(), *edge.worker_pids()]
    edge.send_signal(signal.SIGUSR2)
    wait_for(waiting.exists, at, seconds=SECONDS)
    with Client(edge.port("http")) as client:
        assert client.is_served()
        edge.process.kill()
        edge.process.wait()
        go_on.touch()
    wait_for(lambda: all(map(is_gone, workers)), "all processes to end with their supervisor")
    wait_for(lambda: is_refused(edge.port("http")), "nobody holds the socket")


def test_stop_during_the_takeover_is_obeyed_by_the_new_release(
    tmp_path: Path, edge: RunningEdge, releases: Releases
) -> None:
    waiting, go_on = tmp_path / "waiting", tmp_path / "go-on"
    init = releases.add("2.0") / "edge_addon" / "__init__.py"
    init.write_text(
        f"import os, time\nif 'CERTEDGE_HANDOVER' in os.environ:\n    open({str(waiting)!r}, 'w').close()\n"
        f"    while not os.path.exists({str(go_on)!r}): time.sleep(0.01)\n" + init.read_text()
    )
    releases.install("2.0")
    edge.send_signal(signal.SIGUSR2)
    wait_for(waiting.exists, "the takeover", seconds=SECONDS)
    edge.send_signal(signal.SIGTERM)
    go_on.touch()
    assert edge.wait() == 0
    assert "stopped" in edge.stderr.splitlines()[-1]


def test_stop_just_before_the_takeover_is_obeyed(tmp_path: Path, releases: Releases) -> None:
    supervisor = tmp_path / "releases" / "1.0" / "edge_addon" / "processes" / "supervisor.py"
    text, where = supervisor.read_text(), "        signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)\n"
    assert text.count(where) == 1
    supervisor.write_text(text.replace(where, f"        os.kill(os.getpid(), signal.SIGTERM)\n{where}"))
    with running_edge(tmp_path, {"listeners": [{"kind": "http"}]}, program=[str(releases.link)]) as edge:
        edge.send_signal(signal.SIGUSR2)
        wait_for(lambda: edge.process.poll() is not None, "the end of the service", seconds=SECONDS)
        assert edge.wait() == 0
        assert "stopped" in edge.stderr.splitlines()[-1]


def test_release_that_is_installed_during_the_trial_of_another_is_tried_too(
    tmp_path: Path, edge: RunningEdge, releases: Releases
) -> None:
    waiting, go_on = tmp_path / "waiting", tmp_path / "go-on"
    init = releases.add("2.0") / "edge_addon" / "__init__.py"
    init.write_text(
        f"import os, time\nopen({str(waiting)!r}, 'w').close()\n"
        f"while not os.path.exists({str(go_on)!r}): time.sleep(0.01)\n" + init.read_text()
    )
    releases.install("2.0")
    edge.send_signal(signal.SIGUSR2)
    wait_for(waiting.exists, "the trial", seconds=SECONDS)
    crash_at_start(releases.add("3.0"))
    releases.install("3.0")
    ran = certedge(edge.folder, "reload", "--upgrade", "--timeout", "1")
    assert ran.code == 1
    assert "has not taken over after 1 seconds" in ran.err
    assert "its trial goes on" in ran.err
    go_on.touch()
    wait_for(lambda: "SIGABRT" in edge.stderr, "the trial of the release that came last", seconds=SECONDS)
    assert running_release(edge) == "1.0"
    with Client(edge.port("http")) as client:
        assert client.is_served()


def test_reload_upgrades_by_itself_when_another_release_is_installed(edge: RunningEdge, releases: Releases) -> None:
    """The command line of the tests is another installation than the service's."""
    releases.add("2.0")
    releases.install("2.0")
    assert "another release is installed" in certedge(edge.folder, "status").out
    ran = reload(edge)
    assert ran.returncode == 0, ran.stderr
    assert running_release(edge) == "2.0"
