"""The files that a member of a cluster keeps beside edge.yaml, and the section `cluster:` in it.

Nothing is overwritten: a file that is there with another content ends the command, and an edge.yaml that can't be
changed is left alone, with the lines to put there shown instead.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from certstore.cli.context import Edge
from certstore.cli.failure import CommandFailed, Exit
from certstore.cli.lazy import atomic, loading
from certstore.cli.lazy import section as sections
from certstore.model.text import written_text

if TYPE_CHECKING:
    from certstore.cluster.invitation import Invitation

_FOLDER = "cluster"
SECTION = "cluster"


@dataclass(frozen=True, slots=True)
class Changed:
    """Whether edge.yaml was changed; if not, `to_write` are the lines that an administrator has to put there."""

    is_done: bool
    message: str
    to_write: str = ""


def relative(base: Path, path: Path | None) -> str | None:
    """As edge.yaml names it: relative to its folder where it lies in there."""
    if path is None:
        return None
    absolute, within = path.absolute(), base.absolute()
    return str(absolute.relative_to(within)) if absolute.is_relative_to(within) else str(absolute)


def checked(section: Mapping[str, Any], attempted: str) -> dict[str, Any]:
    """The section as edge.yaml gets it. Raises CommandFailed, which names the option's key."""
    from pydantic import ValidationError

    from certstore.model.settings.cluster import ClusterSettings

    try:
        settings = ClusterSettings.model_validate(dict(section))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        key = ".".join(str(each) for each in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        found = f"--{key.partition('.')[0].replace('_', '-')}: {message}" if key else message
        raise CommandFailed(attempted, found, "see: certedge cluster init --help", Exit.USAGE) from None
    return settings.model_dump(mode="json", exclude_defaults=True)


def parse_invitation(text: str, attempted: str) -> Invitation:
    from certstore.cluster.invitation import Invitation, InvitationUnusable

    try:
        return Invitation.from_text(text)
    except InvitationUnusable as error:
        remedy = "pass on what `certedge cluster invite NODE` prints, whole, through a pipe or a file"
        raise CommandFailed(attempted, f"the invitation can't be used: {error}", remedy, Exit.USAGE) from None


@contextmanager
def engine_files(edge: Edge, invitation: Invitation, attempted: str) -> Iterator[dict[str, Any]]:
    """Write what leads to the engine, and give the section's keys for it. Taken back where the body fails.

    A node whose edge.yaml has the section already keeps the files that it names.
    """
    if edge.settings.cluster is not None:
        yield {}
        return
    access, folder = invitation.access, edge.base / _FOLDER
    files: dict[str, tuple[str, str]] = {"ca_file": ("engine-ca.pem", access.ca_pem)}
    section: dict[str, Any] = {"engine": list(access.endpoints)}
    if access.client_pem is not None:
        files["client_cert"] = ("engine.pem", access.client_pem)
    if access.username is not None:
        section["username"] = access.username
        files["password_file"] = ("engine-password", access.password or "")
    made: list[Path] = []
    try:
        owner = (edge.layout.root if edge.layout.root.exists() else edge.base).stat()
        if not folder.is_dir():
            folder.mkdir(0o755)
        for key, (name, content) in files.items():
            if _write_new(folder / name, content.encode(), owner.st_uid, owner.st_gid, attempted):
                made.append(folder / name)
            section[key] = f"{_FOLDER}/{name}"
        atomic.sync_folder(folder)
        yield section
    except BaseException:
        for path in made:
            path.unlink(missing_ok=True)
        with suppress(OSError):
            folder.rmdir()
        raise


def _write_new(path: Path, content: bytes, uid: int, gid: int, attempted: str) -> bool:
    """For the store's owner alone. Whether it had to be written: an earlier `join` may have left it."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        with path.open("rb") as file:
            if file.read(len(content) + 1) == content:
                return False
        remedy = "move it away, or name your own files in a section `cluster:` of edge.yaml"
        raise CommandFailed(attempted, f"{path} is there already, with another content", remedy) from None
    try:
        atomic.write_all(descriptor, content)
        os.fchmod(descriptor, 0o600)
        if os.geteuid() == 0:
            os.fchown(descriptor, uid, gid)
        os.fsync(descriptor)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
    return True


def add_section(edge: Edge, section: Mapping[str, Any]) -> Changed:
    if edge.settings.cluster is not None:
        return Changed(is_done=False, message=f"{edge.config} has the section `cluster:` already")
    lines = sections.section_text(SECTION, section)
    try:
        text = written_text(edge.config.read_bytes())
        _replace(edge, sections.with_section(text, SECTION, section))
    except (OSError, ValueError) as error:
        return Changed(False, f"{edge.config} can't be changed ({_reason(error)}): add these lines to it", lines)
    return Changed(is_done=True, message=f"{edge.config}: section `cluster:` added")


def remove_section(edge: Edge) -> Changed:
    try:
        text = written_text(edge.config.read_bytes())
        _replace(edge, sections.without_section(text, SECTION))
    except (OSError, ValueError) as error:
        message = f"{edge.config} can't be changed ({_reason(error)}): take its section `cluster:` out"
        return Changed(is_done=False, message=message)
    return Changed(is_done=True, message=f"{edge.config}: section `cluster:` taken out")


def left_files(edge: Edge) -> list[Path]:
    """The files that led to the engine, for a node that has left. They may be the administrator's own, so they stay."""
    cluster = edge.settings.cluster
    named = (cluster.ca_file, cluster.client_cert, cluster.password_file) if cluster is not None else ()
    return [path for path in (edge.base / each for each in named if each is not None) if path.exists()]


def _replace(edge: Edge, text: str) -> None:
    """By one rename, with the owner and mode that it had. Raises ValueError where anything else would change."""
    path = edge.config
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        raise sections.NotEditable("it is a link")
    after = loading.parse_settings(text, str(path))
    if after.model_copy(update={"cluster": None}) != edge.settings.model_copy(update={"cluster": None}):
        raise sections.NotEditable("other settings would change with it")
    owner = (status.st_uid, status.st_gid) if os.geteuid() == 0 else None
    path = path.absolute()
    atomic.replace_file(path, text.encode(), stat.S_IMODE(status.st_mode), path.parent, owner=owner)


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror or "") if isinstance(error, OSError) else str(error)
