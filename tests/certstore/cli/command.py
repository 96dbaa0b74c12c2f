"""`certedge` as you run it: a process with arguments, its output and its exit code."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from certstore.control.client import call
from certstore.control.commands.requests import AddSiteRequest, CommandRequest, InstallRequest
from certstore.control.commands.results import CommandResult
from certstore.model.certificate.dropped_file import DroppedFile
from certstore.model.record import Outcome
from certstore.model.settings.models import Settings
from tests.certificates import Issued

# Everything is imported first: the interpreter may lie where only root can read.
_AS_USER = """
import importlib, os, pkgutil, sys
import encodings.ascii, encodings.idna, encodings.utf_8_sig, rich.text, typer.rich_utils
import certstore.cluster.access, certstore.cluster.joining, certstore.cluster.membership, certstore.cluster.replica
import certstore.cli, certstore.store.status, certstore.control.client, certstore.control.dispatch, edge_addon.cli
for module in pkgutil.iter_modules(certstore.cli.__path__, "certstore.cli."):
    importlib.import_module(module.name)
user = int(sys.argv.pop(1))
os.setgroups([])
os.setresgid(user, user, user)
os.setresuid(user, user, user)
sys.exit(edge_addon.cli.main())
"""
REPOSITORY = Path(__file__).parents[3]


@dataclass(frozen=True, slots=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def certedge(
    folder: Path, *words: str | Path, given: bytes = b"", user: int | None = None, config: bool = True, **env: str
) -> Ran:
    """Run a command in `folder` on its `edge.yaml`; `user` is a uid to run it as (needs root)."""
    program = ["-m", "edge_addon.cli"] if user is None else ["-c", _AS_USER, str(user)]
    options = ["--config", str(folder / "edge.yaml")] if config else []
    done = subprocess.run(
        [sys.executable, *program, *options, *map(str, words)],
        input=given,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "COLUMNS": "200", **env},
        capture_output=True,
        timeout=60,
        check=False,
    )
    ran = Ran(done.returncode, done.stdout.decode(), done.stderr.decode())
    assert "Traceback" not in ran.err, ran.err
    return ran


def on_terminal(folder: Path, typed: bytes, *words: str, columns: int = 160) -> Ran:
    """Run a command on a terminal: what it showed there, and its exit code."""
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(folder)
        os.environ.update(PYTHONPATH=str(REPOSITORY), TERM="xterm-256color", COLUMNS=str(columns))
        os.environ.pop("NO_COLOR", None)
        os.execv(sys.executable, [sys.executable, "-m", "edge_addon.cli", *words])  # noqa: S606
    os.write(terminal, typed)
    shown = b""
    try:
        while part := os.read(terminal, 4096):
            shown += part
    except OSError:
        pass  # how a terminal says that nobody writes to it any more
    os.close(terminal)
    _, status = os.waitpid(child, 0)
    return Ran(os.waitstatus_to_exitcode(status), shown.decode(), "")


@contextlib.contextmanager
def open_folder() -> Iterator[Path]:
    """A folder that every user can enter. Pytest keeps resetting the modes of its own while other runs start."""
    folder = Path(tempfile.mkdtemp(prefix="certedge-test-"))
    try:
        folder.chmod(0o755)
        yield folder
    finally:
        shutil.rmtree(folder)


def perform[R: CommandResult](folder: Path, request: CommandRequest[R]) -> R:
    """The same change without the time that a process takes, for what a test only starts from."""
    return call(Settings(store=Path("store")), folder, request)


def add_site(folder: Path, site: str, **settings: Any) -> None:
    perform(folder, AddSiteRequest(site, {"host": site, **settings}))


def install(folder: Path, site: str, *issued: Issued) -> None:
    """The site's next version; expired or foreign certificates are taken too."""
    files = tuple(DroppedFile(f"{position}.pem", each.combined_pem) for position, each in enumerate(issued))
    result = perform(folder, InstallRequest(site, files, force=True))
    assert result.outcome is Outcome.DONE, result


def write_edge(folder: Path, settings: dict[str, Any] | None = None, host: str = "mail.edge.test") -> None:
    """An edge.yaml and a store that nothing has run on yet."""
    (folder / "store/main").mkdir(parents=True)
    (folder / "store/main/site.yaml").write_text(yaml.safe_dump({"host": host}))
    (folder / "edge.yaml").write_text(yaml.safe_dump({"store": "store", **(settings or {})}))
