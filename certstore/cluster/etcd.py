"""One member of etcd (3.4 and later) as an `Engine`: keys, conditions and leases in the words of its JSON gateway.

`etcd_gateway` carries the requests, `etcd_feed` follows changes, `session` chooses among members.
"""

from __future__ import annotations

import base64
import re
import ssl
from collections.abc import Sequence
from datetime import timedelta
from math import ceil
from typing import Any

from certstore.cluster.engine import (
    MOST_OPS,
    Committed,
    Compacted,
    Compare,
    CreatedAt,
    EngineLost,
    EngineStatus,
    Item,
    LeaseGone,
    Lost,
    Op,
    Outcome,
    Put,
    Reading,
    Unknown,
    WentBack,
    check_commit,
)
from certstore.cluster.etcd_answers import item_of, key_bytes, objects, revision_of, whole
from certstore.cluster.etcd_feed import EtcdFollowing
from certstore.cluster.etcd_gateway import AnswerTooLong, Gateway, Login, Unanswered

PING_SECONDS = 2.0
"""For what a working member answers at once."""
WRITE_SECONDS = 3.0
"""A proposal that went to a leader that died is never answered; what is slow is found when it is read back."""
READ_SECONDS = 10.0
"""For one page."""
_SHORT_BYTES = 1 << 20
_PAGE = 500
_PAGE_OF_KEYS = 5000
_READINGS = 3
"""How often a reading of several pages begins again because its revision was compacted away."""
_ALARM = re.compile(r"alarm:(\w+)")


class EtcdMember:
    """Thread-safe; see `Engine`. `endpoint` is https://host:port."""

    def __init__(self, endpoint: str, context: ssl.SSLContext, login: Login | None = None) -> None:
        self.endpoint = endpoint
        self._gateway = Gateway(endpoint, context, login)
        self._feeds: set[EtcdFollowing] = set()

    def read(self, prefix: str, *, keys_only: bool = False) -> Reading:
        for _ in range(_READINGS):
            try:
                return self._read(prefix, keys_only)
            except Compacted:
                continue
        raise EngineLost(f"{self.endpoint}: history is compacted faster than {prefix} can be read")

    def get(self, keys: Sequence[str]) -> Reading:
        if not 0 < len(keys) <= MOST_OPS:
            raise ValueError(f"{len(keys)} keys in one request: from 1 to {MOST_OPS} are possible")
        ranges = [{"request_range": {"key": _coded(key_bytes(key))}} for key in keys]
        answer = self._gateway.ask("/v3/kv/txn", {"success": ranges}, READ_SECONDS)
        found = [objects(each.get("response_range", {}), "kvs") for each in objects(answer, "responses")]
        return Reading(tuple(item_of(kv) for kvs in found for kv in kvs), revision_of(answer))

    def commit(self, compares: Sequence[Compare], ops: Sequence[Op]) -> Outcome:
        check_commit(compares, ops)
        body = {"compare": [_compare(each) for each in compares], "success": [_op(each) for each in ops]}
        try:
            answer = self._gateway.ask("/v3/kv/txn", body, WRITE_SECONDS, _SHORT_BYTES)
        except Unanswered as error:
            return Unknown(str(error))
        revision = revision_of(answer)
        return Committed(revision) if answer.get("succeeded") is True else Lost(revision)

    def follow(self, prefix: str, after: int) -> EtcdFollowing:
        start, end = _range(prefix)
        # A linearizable read first: it renews the token, which a watch can't, and what it says of the engine's revision
        # holds for all members, while a watch would wait in silence for a revision that a restore took away.
        counting = {"key": start, "range_end": end, "count_only": True}
        revision = revision_of(self._gateway.ask("/v3/kv/range", counting, PING_SECONDS, _SHORT_BYTES))
        if revision < after:
            reason = f"{self.endpoint}: at revision {revision}, before {after}, which it had"
            return EtcdFollowing(self._gateway, {}, after, broken=WentBack(reason))
        request = {"key": start, "range_end": end, "start_revision": str(after + 1), "fragment": True}
        feed = EtcdFollowing(self._gateway, {"create_request": request}, after)
        self._feeds = {each for each in self._feeds if not each.is_closed} | {feed}
        return feed

    def grant(self, ttl: timedelta) -> int:
        answer = self._gateway.ask(
            "/v3/lease/grant", {"TTL": str(ceil(ttl.total_seconds()))}, PING_SECONDS, _SHORT_BYTES
        )
        return whole(answer, "ID")

    def keep(self, lease: int) -> timedelta:
        answer = self._gateway.ask("/v3/lease/keepalive", {"ID": str(lease)}, PING_SECONDS, _SHORT_BYTES).get("result")
        left = whole(answer, "TTL") if isinstance(answer, dict) else 0
        if left <= 0:
            raise LeaseGone(f"{self.endpoint}: the lease has ended")
        return timedelta(seconds=left)

    def revoke(self, lease: int) -> None:
        try:
            self._gateway.ask("/v3/lease/revoke", {"ID": str(lease)}, PING_SECONDS, _SHORT_BYTES)
        except LeaseGone:
            pass

    def status(self) -> EngineStatus:
        answer = self._gateway.ask("/v3/maintenance/status", {}, PING_SECONDS, _SHORT_BYTES)
        header, errors, leader = answer.get("header", {}), answer.get("errors"), whole(answer, "leader")
        return EngineStatus(
            cluster=f"{whole(header, 'cluster_id'):x}",
            member=f"{whole(header, 'member_id'):x}",
            leader=f"{leader:x}" if leader else "",
            version=str(answer.get("version", "")),
            revision=revision_of(answer),
            used_bytes=whole(answer, "dbSize"),
            alarms=tuple(_ALARM.findall(" ".join(map(str, errors)))) if isinstance(errors, list) else (),
        )

    def abandon(self) -> None:
        self._gateway.abandon()

    def close(self) -> None:
        feeds, self._feeds = self._feeds, set()
        for feed in feeds:
            feed.close()
        self._gateway.close()

    def _read(self, prefix: str, keys_only: bool) -> Reading:
        start, end = _range(prefix)
        limit, revision, items = _PAGE_OF_KEYS if keys_only else _PAGE, 0, list[Item]()
        while True:
            body = {"key": start, "range_end": end, "limit": str(limit), "revision": str(revision)}
            try:
                answer = self._gateway.ask("/v3/kv/range", {**body, "keys_only": keys_only}, READ_SECONDS)
            except AnswerTooLong:
                if limit == 1:
                    raise
                limit = max(1, limit // 8)
                continue
            revision = revision or revision_of(answer)
            page = [item_of(kv) for kv in objects(answer, "kvs")]
            items += page
            if not answer.get("more") or not page:
                return Reading(tuple(items), revision)
            start = _coded(key_bytes(page[-1].key) + b"\0")


def _coded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _range(prefix: str) -> tuple[str, str]:
    """First key, and the first one after the last: the prefix with its last byte raised by one."""
    start = prefix.encode()
    return _coded(start), _coded(start[:-1] + bytes([start[-1] + 1]))


def _compare(compare: Compare) -> dict[str, Any]:
    is_created = isinstance(compare, CreatedAt)
    target, field = ("CREATE", "create_revision") if is_created else ("MOD", "mod_revision")
    return {"key": _coded(key_bytes(compare.key)), "target": target, "result": "EQUAL", field: str(compare.revision)}


def _op(op: Op) -> dict[str, Any]:
    key = _coded(key_bytes(op.key))
    if isinstance(op, Put):
        return {"request_put": {"key": key, "value": _coded(op.value), "lease": str(op.lease)}}
    return {"request_delete_range": {"key": key}}
