"""What a front may do in the engine: read its cluster, say how it is, and use up its invitation. Nothing else.

Sealing keeps a front from forging; the engine's own access control keeps a stolen one from deleting and from holding
locks. The engine is asked to refuse before a credential is given away: a transaction whose condition can't hold
changes nothing, and etcd looks at permissions first. Also has the commands that make such a credential with etcdctl.
"""

from __future__ import annotations

from collections.abc import Iterator

from certstore.cluster.engine import Engine, EngineRefused, ModifiedAt, Put
from certstore.cluster.invitation import identity_of_front
from certstore.model.cluster.paths import ClusterPaths, Shelf

FULL_USER = "certedge"
"""The engine's user that all full nodes share."""
_NEVER = (1 << 62) + 1
"""No key was ever changed at this revision."""


class AccessTooWide(Exception):
    """The credential is not one for a front; the message says what it lacks or may do."""


def check_front_access(engine: Engine, paths: ClusterPaths, node: str) -> None:
    """`engine` is reached with the front's credential. Nothing is changed. Raises AccessTooWide, EngineFailed."""
    engine.get([paths.meta])
    if (key := next(_writable(engine, _forbidden(paths, node)), None)) is not None:
        raise AccessTooWide(f"with this credential, {node} could write {key} in the engine")
    lacking = set(_own(paths, node)) - set(_writable(engine, _own(paths, node)))
    if lacking:
        raise AccessTooWide(f"with this credential, {node} could not write {min(lacking)} in the engine")


def _own(paths: ClusterPaths, node: str) -> tuple[str, ...]:
    return paths.live(node), paths.invite(identity_of_front(paths.cluster, node))


def _forbidden(paths: ClusterPaths, node: str) -> tuple[str, ...]:
    """One of each kind of record that somebody else than its subject would miss."""
    other = f"{node[:50]}-x"
    return (
        paths.meta, paths.seq, paths.site("main"), paths.head("main"), paths.prev("main"),
        paths.of(Shelf.TOKEN, "x" * 43), paths.member(node), paths.live(other), paths.caretaker, paths.lock("main"),
        paths.of(Shelf.ACME),
        paths.of(Shelf.ACCOUNT, "x"), paths.of(Shelf.ORDER, "main"), paths.of(Shelf.ADMIN, "user", "x"),
        paths.of(Shelf.KEY, "0" * 8, node),
    )  # fmt: skip


def _writable(engine: Engine, keys: tuple[str, ...]) -> Iterator[str]:
    for key in keys:
        try:
            engine.commit([ModifiedAt(key, _NEVER)], [Put(key, b"")])
        except EngineRefused:
            continue
        yield key


def setup_script(cluster: str, node: str, *, is_first: bool = True) -> str:
    """For a machine that reaches the engine with etcdctl. The passwords lie beside it, in files named after users.
    `is_first`: nobody has a user yet, so the full nodes get theirs too.
    """
    paths = ClusterPaths(cluster)
    own = "\n".join(f"etcdctl role grant-permission certedge-front-{node} readwrite {key}" for key in _own(paths, node))
    of_full_nodes = f"""\
etcdctl role add {FULL_USER}
etcdctl role grant-permission --prefix=true {FULL_USER} readwrite {paths.prefix}
etcdctl user add {FULL_USER} --interactive=false < {FULL_USER}
etcdctl user grant-role {FULL_USER} {FULL_USER}
etcdctl user add root --interactive=false < root
etcdctl user grant-role root root
"""
    return f"""\
#!/bin/sh
# Users and roles in the engine for {node}, a front of the cluster {cluster}. Set ETCDCTL_ENDPOINTS, ETCDCTL_CACERT,
# ETCDCTL_CERT and ETCDCTL_KEY; where access control is on already, also ETCDCTL_USER=root:PASSWORD. What is there
# already stays. The script does not switch access control on.
set -u
cd "$(dirname "$0")" || exit
export ETCDCTL_API=3
{of_full_nodes if is_first else ""}\
etcdctl role add certedge-front-{node}
etcdctl role grant-permission --prefix=true certedge-front-{node} read {paths.prefix}
{own}
etcdctl user add {node} --interactive=false < {node}
etcdctl user grant-role {node} certedge-front-{node}
"""
