"""A control process as a child, for tests: started until ready, asked to stop, its log read."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import yaml

from certstore.model.layout import Layout
from certstore.model.settings.models import Settings
from tests.deadlines import wait_for

_CHILD = """
import encodings.idna
import encodings.utf_8_sig
import os
import resource
import signal
import sys
from pathlib import Path
from certstore.admin.start import serve_console
from certstore.model.settings.models import Settings
from certstore.control.process import CannotServe, run_control

def ready():
    print("ready", flush=True)

if limit := int(sys.argv[3]):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
if user := int(sys.argv[4]):
    # After the imports: the interpreter may lie where only root can read.
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
try:
    # A port of the system's choice: the console of one test is not in the way of another's.
    chosen = {"store": "store", "sweep_seconds": float(sys.argv[2]), "admin": {"listen": "127.0.0.1:0"}}
    run_control(Settings.model_validate(chosen), Path(sys.argv[1]), console=serve_console, ready=ready)
except CannotServe as error:
    sys.exit(f"CANNOT SERVE {error}")
"""


class ControlProcess:
    """A control process on `folder/store`; `file_limit` bounds the size of every file it writes, in bytes."""

    wrapper: ClassVar[tuple[str, ...]] = ()
    """A program that finally executes the child, and its arguments."""

    def __init__(self, folder: Path, sweep_seconds: float = 60, file_limit: int = 0, user: int | None = None) -> None:
        self.folder = folder
        self.layout = Layout(folder / "store")
        self.settings = Settings(store=Path("store"))
        self.log = folder / "control.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *self.wrapper,
                    sys.executable,
                    "-c",
                    _CHILD,
                    str(folder),
                    str(sweep_seconds),
                    str(file_limit),
                    str(user or 0),
                ],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
                stdout=subprocess.PIPE,
                stderr=log,
            )

    def wait_ready(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n", self.stderr

    @property
    def stderr(self) -> str:
        return self.log.read_text()

    def connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(30)
        connection.connect(str(self.layout.control_socket))
        return connection

    def says(self, text: str) -> None:
        """Wait until the log says so."""
        wait_for(lambda: text in self.stderr, f"{text!r} in the log")

    def stop(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        code = self.process.wait(30)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code


@contextlib.contextmanager
def running_control(folder: Path, *, sweep_seconds: float = 60) -> Iterator[ControlProcess]:
    """Started and ready. At the end it stops cleanly, and its log contains no traceback and no key."""
    main = Layout(folder / "store").site_yaml("main")
    if not main.exists():
        main.parent.mkdir(parents=True, exist_ok=True)
        main.write_text(yaml.safe_dump({"host": "mail.edge.test"}))
    control = ControlProcess(folder, sweep_seconds)
    try:
        control.wait_ready()
        yield control
        assert control.stop() == 0, control.stderr
        assert "Traceback" not in control.stderr, control.stderr
        assert "PRIVATE KEY" not in control.stderr
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(control.process.pid, signal.SIGKILL) if control.process.poll() is None else None
        control.wait()
