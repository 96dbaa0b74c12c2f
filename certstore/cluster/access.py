"""How this node reaches the engine: from the section `cluster:` of edge.yaml to a connection, and to what an invitation
carries for another node.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from certstore.cluster.engine import EngineFailed, EngineLost, EngineStatus
from certstore.cluster.etcd import EtcdMember
from certstore.cluster.etcd_gateway import Login, engine_context
from certstore.cluster.invitation import EngineAccess
from certstore.files.atomic import write_new_file
from certstore.files.permissions import repair_command
from certstore.model.settings.cluster import ClusterSettings
from certstore.model.text import written_text

_FILE_LIMIT = 128 * 1024


class AccessUnusable(Exception):
    """A file that leads to the engine can't be used; the message names it."""


def open_engine(settings: ClusterSettings, base: Path) -> EtcdMember:
    """The first member that answers and knows a leader, for one command. Close it.

    Raises AccessUnusable, EngineFailed.
    """
    reasons = []
    for endpoint in settings.engine:
        member = _member(settings, base, endpoint)
        try:
            if member.status().leader:
                return member
            reasons.append(f"{endpoint} knows no leader: most members are away")
        except EngineLost as error:
            reasons.append(str(error))
        except EngineFailed:
            member.close()
            raise
        member.close()
    raise EngineLost("; ".join(reasons))


def all_members(settings: ClusterSettings, base: Path) -> list[EtcdMember]:
    """For a session over all of them. Raises AccessUnusable."""
    return [_member(settings, base, endpoint) for endpoint in settings.engine]


def ask_member(settings: ClusterSettings, base: Path, endpoint: str) -> EngineStatus | str:
    """How one member is, or why it does not say so. Raises AccessUnusable."""
    with closing(_member(settings, base, endpoint)) as member:
        try:
            return member.status()
        except EngineFailed as error:
            return str(error)


def _member(settings: ClusterSettings, base: Path, endpoint: str) -> EtcdMember:
    client = settings.client_cert
    try:
        context = engine_context(base / settings.ca_file, base / client if client else None)
    except PermissionError:
        raise AccessUnusable(_unreadable(*(base / each for each in (settings.ca_file, client) if each))) from None
    except OSError as error:
        files = ", ".join(str(base / each) for each in (settings.ca_file, client) if each)
        raise AccessUnusable(f"the engine's certificates can't be used ({files}): {error.strerror or error}") from None
    login = None
    if settings.username is not None and settings.password_file is not None:
        login = Login(settings.username, base / settings.password_file)
    return EtcdMember(endpoint, context, login)


def _unreadable(*paths: Path) -> str:
    shut = next((path for path in paths if not os.access(path, os.R_OK, effective_ids=True)), paths[-1])
    return f"the service can't read {shut}: permission denied. {repair_command(shut)}"


@contextmanager
def engine_with(access: EngineAccess, temporary: Path) -> Iterator[EtcdMember]:
    """Reached as the node will that gets `access`. Its secrets lie below `temporary` meanwhile, for this user alone.

    Raises AccessUnusable, EngineFailed.
    """
    with TemporaryDirectory(dir=temporary, prefix="access-") as name:
        folder = Path(name)
        contents = {"ca": access.ca_pem, "client": access.client_pem, "password": access.password}
        files = {name: folder / name for name, content in contents.items() if content is not None}
        for name, path in files.items():
            write_new_file(path, (contents[name] or "").encode(), 0o600)
        settings = ClusterSettings(
            engine=access.endpoints,
            ca_file=files["ca"],
            client_cert=files.get("client"),
            username=access.username,
            password_file=files.get("password"),
        )
        with closing(open_engine(settings, folder)) as engine:
            yield engine


def read_access(settings: ClusterSettings, base: Path) -> EngineAccess:
    """What another node needs to reach the engine as this one does. Raises AccessUnusable."""

    def read(path: Path) -> str:
        try:
            with (base / path).open("rb") as file:
                content = file.read(_FILE_LIMIT + 1)
            if len(content) > _FILE_LIMIT:
                raise AccessUnusable(f"{base / path} has more than {_FILE_LIMIT} bytes")
            return written_text(content)
        except PermissionError:
            raise AccessUnusable(_unreadable(base / path)) from None
        except OSError as error:
            raise AccessUnusable(f"{base / path} can't be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise AccessUnusable(f"{base / path} is not a text file") from None

    return EngineAccess(
        endpoints=settings.engine,
        ca_pem=read(settings.ca_file),
        client_pem=read(settings.client_cert) if settings.client_cert else None,
        username=settings.username,
        password=read(settings.password_file).strip() if settings.password_file else None,
    )
