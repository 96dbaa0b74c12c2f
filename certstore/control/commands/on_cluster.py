"""The commands about the cluster that this node belongs to: found one, invite, join, look at it, leave.

Performed by the store's owner, as the cluster's keys lie in the store. The cluster's modules are imported by the
commands alone: a node without a cluster loads none of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from certstore.control.commands import requests, results
from certstore.control.protocol import Fault, RequestFailed
from certstore.files.clock import utc_now
from certstore.model.certificate.findings import Finding
from certstore.model.progress import Tell
from certstore.model.settings.cluster import ClusterSettings
from certstore.model.text import listed
from certstore.store.writer import StoreWriter

if TYPE_CHECKING:
    from certstore.cluster.engine import Engine
    from certstore.cluster.invitation import EngineAccess
    from certstore.cluster.keys import KeyRing
    from certstore.cluster.membership import ClusterView, Membership, Place
    from certstore.model.cluster.health import NodeStanding
    from certstore.model.cluster.records import Member

_SITES_SHOWN = 20
_STATUS = "to see who belongs to it: certedge cluster status"


def init(writer: StoreWriter, request: requests.InitClusterRequest, tell: Tell) -> results.MembershipResult:
    """This node is the first one of a new cluster; what its store holds becomes the cluster's once the service runs."""
    from certstore.cluster.keys import KeyRing, write_keys
    from certstore.cluster.membership import Membership

    settings, path = settings_of(request), key_file_of(writer, request)
    with failures_told(), engine_of(request, settings) as engine:
        ring = _kept_keys(path)
        if ring is None:
            ring = KeyRing.draw(request.node)
            tell(f"making the keys of cluster {ring.cluster}")
            write_keys(path, ring)
        elif _has_meta(engine, ring):
            remedy = f"{_STATUS}; to leave it: certedge cluster leave"
            raise RequestFailed(Fault.EXISTS, f"this node belongs to the cluster {ring.cluster} already", remedy)
        # Keys whose cluster the engine does not hold are those of an attempt that a kill ended.
        Membership(engine, ring).found(_place(settings, request.listeners), utc_now())
        outcome, notes = _brought_in_step(writer, engine, ring, settings, tell)
    message = f"{ring.node} is the first node of cluster {ring.cluster}: {outcome}"
    return results.MembershipResult(ring.cluster, ring.node, message, len(writer.sites()), (*notes, _backup_note(path)))


def invite(writer: StoreWriter, request: requests.InviteNodeRequest, tell: Tell) -> results.InvitationResult:
    from certstore.cluster.access import read_access
    from certstore.cluster.membership import Place
    from certstore.model.cluster.paths import is_node_name
    from certstore.model.cluster.records import Role

    settings = settings_of(request)
    with failures_told(), engine_of(request, settings) as engine:
        if not is_node_name(request.node):
            allowed = "one label of a host name, such as edge-c: lower-case letters, digits and inner hyphens"
            raise RequestFailed(Fault.INVALID, f"{request.node!r:.80} can't be the name of a node", f"choose {allowed}")
        ring, access = keys_of(writer, request), read_access(settings, Path(request.base))
        if request.client or request.username:
            own = (request.client or None, request.username or None, request.password or None)
            access = replace(access, client_pem=own[0], username=own[1], password=own[2])
        if request.is_front:
            _refuse_wide_access(writer, request, access, ring)
        invitation = _membership(writer, engine, ring).invite(
            request.node,
            Role.FRONT if request.is_front else Role.EDGE,
            access,
            utc_now(),
            place=Place(request.addresses),
            is_again=request.again,
        )
    return results.InvitationResult(request.node, invitation.expires, invitation.to_text())


def _refuse_wide_access(
    writer: StoreWriter, request: requests.InviteNodeRequest, access: EngineAccess, ring: KeyRing
) -> None:
    """What a front is given for the engine has to be its own, and no more than a front needs."""
    from certstore.cluster import access as engine_access
    from certstore.cluster.front_access import AccessTooWide, check_front_access
    from certstore.cluster.membership import MembershipRefused
    from certstore.model.cluster.paths import ClusterPaths

    remedy = (
        f"make one with certedge cluster front-access {request.node}, and pass it on with --username, --password-file "
        "and --client-cert: see certedge docs cluster"
    )
    if not request.username or (access.client_pem is None and settings_of(request).client_cert is not None):
        raise MembershipRefused("a front needs a credential for the engine of its own, which only reads", remedy)
    try:
        with engine_access.engine_with(access, writer.layout.temporary) as engine:
            check_front_access(engine, ClusterPaths(ring.cluster), request.node)
    except AccessTooWide as error:
        raise MembershipRefused(str(error), remedy) from None


def join(writer: StoreWriter, request: requests.JoinClusterRequest, tell: Tell) -> results.MembershipResult:
    """Become the node that the invitation is for. A kill at any point leaves either no member, or one whose next
    `join` with the same invitation finishes.
    """
    from certstore.cluster import membership
    from certstore.cluster.invitation import Invitation
    from certstore.cluster.keys import remove_keys, write_keys

    settings, path = settings_of(request), key_file_of(writer, request)
    with failures_told(), engine_of(request, settings) as engine:
        invitation = Invitation.from_text(request.invitation)
        before = _kept_keys(path)
        if before is not None and (before.cluster, before.node) != (invitation.cluster, invitation.node):
            found = f"this node is {before.node} of cluster {before.cluster} already"
            raise RequestFailed(Fault.EXISTS, found, "to leave it: certedge cluster leave")
        if before is not None and membership.is_member(engine, before):
            ring = before  # an earlier `join` got so far
            membership.use_up(engine, invitation)
        else:
            bundle = membership.accept(engine, invitation)
            ring = bundle.ring
            tell(f"the invitation for {ring.node} is good; comparing sites")
            _refuse_other_sites(writer, engine, ring, merge=request.merge)
            write_keys(path, ring)
            try:
                membership.complete(engine, invitation, bundle, _place(settings, request.listeners))
            except membership.MembershipRefused:
                remove_keys(path)  # they are another machine's
                raise
        writer.be_front(membership.front_of(engine, ring))
        tell(f"{ring.node} is a member of cluster {ring.cluster}")
        outcome, notes = _brought_in_step(writer, engine, ring, settings, tell)
    message = f"{ring.node} is a member of cluster {ring.cluster}: {outcome}"
    return results.MembershipResult(ring.cluster, ring.node, message, len(writer.sites()), (*notes, _backup_note(path)))


def status(writer: StoreWriter, request: requests.ClusterStatusRequest, tell: Tell) -> results.ClusterStatusResult:
    """Never fails for an engine that is away: that is what it tells."""
    from certstore.cluster.engine import EngineFailed
    from certstore.model.cluster.health import ClusterProblem, node_standings, summary

    settings = settings_of(request)
    with failures_told():
        ring = keys_of(writer, request)
        members = _engine_members(request, settings)
        try:
            with engine_of(request, settings) as engine:
                view = _membership(writer, engine, ring).view()
        except EngineFailed as error:
            problem = Finding(ClusterProblem.DETACHED, f"the engine can't be used: {error}")
            return results.ClusterStatusResult(
                ring.cluster, ring.node, "the engine can't be used; what is served stays", (), members, (problem,)
            )
    nodes = node_standings(view.members.values(), view.lives, view.changed, utc_now())
    facts = tuple(_node_facts(each, view.members[each.name], view.caretaker) for each in nodes)
    problems = _problems(view, ring, members)
    problems += _told_by_service(writer, {each.code for each in problems})
    return results.ClusterStatusResult(ring.cluster, ring.node, summary(nodes), facts, members, problems)


def leave(writer: StoreWriter, request: requests.LeaveClusterRequest, tell: Tell) -> results.MembershipResult:
    """This node, or another one. What this node's store holds stays as it is."""
    from certstore.cluster.keys import remove_keys
    from certstore.cluster.membership import MembershipRefused, foreign_engine
    from certstore.model.cluster.records import Role

    settings = settings_of(request)
    with failures_told(), engine_of(request, settings) as engine:
        ring = keys_of(writer, request)
        membership, node = _membership(writer, engine, ring), request.node or ring.node
        view = membership.view()
        nodes, notes = view.nodes, []
        if view.meta is None and node == ring.node:
            raise foreign_engine(ring.cluster)
        if node == ring.node and nodes == [node]:
            if not request.is_last:
                found = f"{node} is the last node: its records in the engine would be deleted, its store stays"
                raise MembershipRefused(found, "to end the cluster: certedge cluster leave --last")
            tell(f"deleting the records of cluster {ring.cluster}")
            notes.append(f"{membership.erase()} records deleted from the engine")
        elif node == ring.node and ring.role is Role.FRONT:
            notes.append(f"a front can't change members: run certedge cluster remove {node} on a full node")
        else:
            membership.leave(node, utc_now())
            notes.append(
                f"whoever has a copy of the store of {node} still has its certificates and the cluster's keys: if it "
                f"may be in other hands, run on a full node: certedge cluster remove {node} --compromised"
            )
        if node == ring.node:
            remove_keys(key_file_of(writer, request))
            writer.be_front(None)
            writer.layout.cluster_ordering.unlink(missing_ok=True)
    message = f"{node} has left the cluster {ring.cluster}"
    return results.MembershipResult(ring.cluster, node, message, len(writer.sites()), tuple(notes))


def rebuild(writer: StoreWriter, request: requests.RebuildClusterRequest, tell: Tell) -> results.MembershipResult:
    """The node's part in the cluster does it, as it alone knows what the engine had: here it is only asked to."""
    from certstore.model.cluster.records import Role

    settings = settings_of(request)
    with failures_told(), engine_of(request, settings):
        ring = keys_of(writer, request)
    if ring.role is Role.FRONT:
        raise RequestFailed(Fault.REFUSED, f"{ring.node} is a front: it can't write", "do it on a full node")
    write_mark(writer.layout.cluster_rebuild)
    sites = len(writer.sites())
    message = f"{ring.node} fills the engine again: with what the engine lacks of its {sites} sites"
    notes = ("every other node adds what it alone has, as soon as it reaches the engine",)
    return results.MembershipResult(ring.cluster, ring.node, message, sites, notes)


# Inside


def _membership(writer: StoreWriter, engine: Engine, ring: KeyRing) -> Membership:
    from certstore.cluster.known_members import read_known
    from certstore.cluster.membership import Membership
    from certstore.model.cluster.paths import ClusterPaths

    return Membership(engine, ring, read_known(writer.layout, ClusterPaths(ring.cluster)))


def write_mark(path: Path) -> None:
    """A file that says something by being there. Raises OSError."""
    path.touch(0o600)


@contextmanager
def failures_told() -> Iterator[None]:
    """What the cluster's parts raise, as a failure of the command. None of it quotes a key or an invitation."""
    from certstore.cluster.access import AccessUnusable
    from certstore.cluster.engine import EngineFailed, EngineFull, EngineLost, EngineRefused
    from certstore.cluster.invitation import InvitationUnusable
    from certstore.cluster.keys import KeysUnusable
    from certstore.cluster.membership import MembershipRefused
    from certstore.model.cluster.health import problem_of
    from certstore.model.cluster.wire import Refused

    try:
        yield
    except InvitationUnusable as error:
        remedy = "pass on what `certedge cluster invite NODE` prints, whole, through a pipe or a file"
        raise RequestFailed(Fault.INVALID, f"the invitation can't be used: {error}", remedy) from None
    except MembershipRefused as error:
        raise RequestFailed(Fault.REFUSED, error.found, error.remedy) from None
    except (AccessUnusable, KeysUnusable) as error:
        raise RequestFailed(Fault.INVALID, str(error)) from None
    except Refused as error:
        raise RequestFailed(Fault.REFUSED, problem_of(error)[1]) from None
    except EngineFull as error:
        remedy = "etcdctl compact, etcdctl defrag and etcdctl alarm disarm make room: see certedge docs cluster"
        raise RequestFailed(Fault.STORAGE, str(error), remedy) from None
    except EngineRefused as error:
        raise RequestFailed(Fault.REFUSED, str(error), "check `cluster:` in edge.yaml") from None
    except EngineLost as error:
        remedy = "check that most members of the engine run, and `cluster.engine` and `ca_file` in edge.yaml"
        raise RequestFailed(Fault.UNREACHABLE, str(error), remedy) from None
    except EngineFailed as error:
        raise RequestFailed(Fault.UNREACHABLE, str(error)) from None


def settings_of(request: requests.ClusterRequest[Any]) -> ClusterSettings:
    try:
        return ClusterSettings.model_validate(dict(request.section))
    except ValueError:
        raise RequestFailed(Fault.INVALID, "`cluster:` can't be used", "run: certedge check-config") from None


@contextmanager
def engine_of(request: requests.ClusterRequest[Any], settings: ClusterSettings) -> Iterator[Engine]:
    from certstore.cluster.access import open_engine

    with closing(open_engine(settings, Path(request.base))) as engine:
        yield engine


def key_file_of(writer: StoreWriter, request: requests.ClusterRequest[Any]) -> Path:
    chosen = settings_of(request).key_file
    return Path(request.base) / chosen if chosen is not None else writer.layout.cluster_keys


def keys_of(writer: StoreWriter, request: requests.ClusterRequest[Any]) -> KeyRing:
    from certstore.cluster.keys import read_keys

    return read_keys(key_file_of(writer, request))


def _kept_keys(path: Path) -> KeyRing | None:
    from certstore.cluster.keys import read_keys

    return read_keys(path) if path.exists() else None


def _has_meta(engine: Engine, ring: KeyRing) -> bool:
    from certstore.model.cluster.paths import ClusterPaths

    return bool(engine.get([ClusterPaths(ring.cluster).meta]).items)


def _place(settings: ClusterSettings, listeners: tuple[results.ListenerAddress, ...]) -> Place:
    from certstore.cluster.membership import Place
    from certstore.model.cluster.records import NodeListener

    return Place(
        settings.addresses,
        tuple(NodeListener(each.kind, each.host, each.port, each.has_proxy_protocol) for each in listeners),
    )


def _refuse_other_sites(writer: StoreWriter, engine: Engine, ring: KeyRing, *, merge: bool) -> None:
    from certstore.cluster.joining import other_sites
    from certstore.cluster.membership import MembershipRefused

    others = other_sites(writer, engine, ring)
    if others and not merge:
        shown = "\n".join(others[:_SITES_SHOWN])
        more = f"\nand {len(others) - _SITES_SHOWN} more" if len(others) > _SITES_SHOWN else ""
        raise MembershipRefused(
            f"this store has sites, or certificates, that the cluster does not have:\n{shown}{more}",
            "to give them to all nodes: certedge cluster join --merge; else join with an empty store",
        )


def _brought_in_step(
    writer: StoreWriter, engine: Engine, ring: KeyRing, settings: ClusterSettings, tell: Tell
) -> tuple[str, tuple[str, ...]]:
    """What is there so far, in words, and notes. What fails here the service does once it runs."""
    from certstore.cluster.engine import EngineFailed
    from certstore.cluster.first_sync import ForeignEngine
    from certstore.cluster.replica import Replica
    from certstore.cluster.sealing import KeyRingSealer
    from certstore.model.cluster.paths import ClusterPaths
    from certstore.model.cluster.records import Role
    from certstore.monitoring.cluster_standing import read_standing

    if read_standing(writer.layout, utc_now()) is not None:
        return "the service follows already", ()  # only one thread may: it writes down what was agreed
    replica = Replica(
        engine, writer, KeyRingSealer(ring), ClusterPaths(ring.cluster), ring.node,
        only=settings.only, is_front=ring.role is Role.FRONT,
    )  # fmt: skip
    try:
        replica.sync(lambda done, total: tell(f"{done} of {total} records taken over"))
        tell("publishing what only this node has")
        replica.publish()
        unpublished, incomplete = len(replica.unpublished()), replica.follower.is_incomplete
    except (EngineFailed, ForeignEngine) as error:
        return "not in step yet", (f"{error}; the service goes on with it once it runs",)
    finally:
        replica.close()
    sites = len(writer.sites())
    count = f"{sites} {'site' if sites == 1 else 'sites'}"
    if unpublished or incomplete:
        return f"{count}, not in step yet", ("the service goes on with it once it runs; see certedge cluster status",)
    return f"{count}, in step", ()


def _backup_note(path: Path) -> str:
    return f"the cluster's keys are in {path}: any backup of the store has to include it"


def _node_facts(node: NodeStanding, member: Member, caretaker: str | None) -> results.NodeFacts:
    return results.NodeFacts(
        name=node.name,
        role=node.role.value,
        state=node.state.value,
        behind=node.behind,
        sites=node.sites,
        release=node.release,
        is_caretaker=node.name == caretaker,
        problems=tuple(Finding(code, message) for code, message in node.problems),
        addresses=member.addresses,
        listeners=tuple(
            results.ListenerAddress(each.kind, each.host, each.port, each.has_proxy_protocol)
            for each in member.listeners
        ),
    )


def _problems(view: ClusterView, ring: KeyRing, engine: tuple[results.EngineFacts, ...]) -> tuple[Finding, ...]:
    from certstore.cluster.membership import foreign_engine
    from certstore.model.cluster.health import ClusterProblem, problem_of

    found = [Finding(*problem_of(refused)) for _, refused in sorted(view.refused.items())]
    if view.meta is None and not found:
        found.append(Finding(ClusterProblem.ENGINE_FOREIGN, str(foreign_engine(ring.cluster))))
    elif ring.node not in view.nodes and not found:
        found.append(Finding(ClusterProblem.KEY_MISSING, f"{ring.node} is not a member any more; join it anew"))
    elif (member := view.members.get(ring.node)) is not None and member.signing_key != ring.own.sign_public:
        message = f"another machine has become {ring.node}: let this one join under a name of its own"
        found.append(Finding(ClusterProblem.KEY_MISSING, message))
    if full := [each.endpoint for each in engine if each.problem and "NOSPACE" in each.problem]:
        found.append(
            Finding(ClusterProblem.ENGINE_FULL, f"the engine is full: {listed(full)}; see certedge docs cluster")
        )
    return tuple(found)


def _told_by_service(writer: StoreWriter, known: set[str]) -> tuple[Finding, ...]:
    """What only the running service knows: conflicts, records that the engine has lost …"""
    from certstore.model.cluster.health import ClusterProblem
    from certstore.monitoring.cluster_standing import read_standing

    standing = read_standing(writer.layout, utc_now())
    if standing is None:
        return ()
    skipped = known | {ClusterProblem.DETACHED}  # this command has just reached the engine
    return tuple(Finding(code, message) for code, message in standing.problems if code not in skipped)


def _engine_members(
    request: requests.ClusterRequest[Any], settings: ClusterSettings
) -> tuple[results.EngineFacts, ...]:
    """All members at once: one that does not answer takes seconds."""
    from concurrent.futures import ThreadPoolExecutor

    from certstore.cluster.access import ask_member

    def ask(endpoint: str) -> results.EngineFacts:
        status = ask_member(settings, Path(request.base), endpoint)
        if isinstance(status, str):
            return results.EngineFacts(endpoint, None, is_leader=False, used_bytes=None, problem=status)
        problem = f"alarm: {listed(status.alarms)}" if status.alarms else None
        if not status.leader:
            problem = "it knows no leader: most members are away"
        is_leader = status.leader == status.member
        return results.EngineFacts(endpoint, status.version, is_leader, status.used_bytes, problem)

    with ThreadPoolExecutor(len(settings.engine)) as pool:
        return tuple(pool.map(ask, settings.engine))
