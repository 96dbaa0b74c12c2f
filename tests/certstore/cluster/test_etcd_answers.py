"""etcd's answers, from bytes to values: what is left out, what is split, and what can't be read."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certstore.cluster.engine import (
    Batch,
    Compacted,
    EngineFailed,
    EngineFull,
    EngineLost,
    EngineRefused,
    Item,
    LeaseGone,
)
from certstore.cluster.etcd_answers import (
    Revisions,
    item_of,
    key_bytes,
    lines_of,
    message_of,
    objects,
    revision_of,
    whole,
)
from certstore.cluster.etcd_gateway import Unanswered, named, understood
from certstore.model.cluster.paths import ClusterPaths


def coded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def event(key: str, revision: int, *, is_deleted: bool = False) -> dict[str, Any]:
    kv = {"key": coded(key), "mod_revision": str(revision)}
    return {"type": "DELETE", "kv": kv} if is_deleted else {"kv": {**kv, "value": coded("v"), "create_revision": "1"}}


def test_an_item_is_read() -> None:
    kv = {"key": coded("/a"), "value": coded("v"), "create_revision": "3", "mod_revision": "7", "lease": "9"}
    assert item_of(kv) == Item("/a", b"v", created=3, modified=7, lease=9)


def test_what_is_zero_or_empty_is_left_out() -> None:
    assert item_of({"key": coded("/a"), "mod_revision": "7"}) == Item("/a", b"", created=0, modified=7)
    assert whole({}, "leader") == 0


@pytest.mark.parametrize(
    "kv", [None, [], "x", {}, {"key": 1}, {"key": "%"}, {"key": coded("a"), "value": "%"}, {"key": None}], ids=str
)
def test_an_item_that_can_not_be_read_is_no_answer(kv: object) -> None:
    with pytest.raises(Unanswered):
        item_of(kv)


@pytest.mark.parametrize(
    "number", [float("inf"), float("nan"), "9" * 5000, [], "x"], ids=["inf", "nan", "long", "list", "text"]
)
def test_a_number_that_is_none_is_no_answer(number: object) -> None:
    with pytest.raises(Unanswered):
        whole({"TTL": number}, "TTL")


def test_a_key_that_is_no_text_is_an_item_like_others() -> None:
    """Whoever shares the engine may have written it; it stands for nothing of ours, and can be asked for."""
    raw = b"/certedge/0123456789abcdef/d/site/\xff"
    item = item_of({"key": base64.b64encode(raw).decode(), "mod_revision": "7"})
    assert key_bytes(item.key) == raw
    assert ClusterPaths("0123456789abcdef").parse(item.key) is None


@pytest.mark.parametrize("answer", [{}, {"header": {}}, {"header": {"revision": "x"}}, {"header": []}, {"header": 1}])
def test_an_answer_without_a_revision_is_none(answer: dict[str, Any]) -> None:
    with pytest.raises(Unanswered):
        revision_of(answer)


@pytest.mark.parametrize("answer", [{"kvs": {}}, {"kvs": [1]}, {"kvs": "x"}, []])
def test_a_list_of_another_form_is_no_answer(answer: Any) -> None:
    with pytest.raises(Unanswered):
        objects(answer, "kvs")


@given(st.lists(st.binary().filter(lambda line: b"\n" not in line)), st.integers(1, 20))
def test_lines_do_not_depend_on_where_chunks_end(lines: list[bytes], size: int) -> None:
    content = b"".join(line + b"\n" for line in lines)
    assert list(lines_of((content[start : start + size] for start in range(0, len(content), size)), 10**6)) == lines


def test_a_line_without_an_end_is_bounded() -> None:
    with pytest.raises(Unanswered, match="longer than 100 bytes"):
        list(lines_of((b"x" * 30 for _ in range(10**9)), 100))


def test_revisions_are_whole_and_in_order() -> None:
    revisions = Revisions(4)
    batches = list(revisions.take({"events": [event("a", 5), event("b", 5, is_deleted=True), event("a", 6)]}))
    assert [(batch.revision, [item.key for item in batch.put], batch.deleted) for batch in batches] == [
        (5, ["a"], ("b",)),
        (6, ["a"], ()),
    ]


def test_a_revision_that_is_split_comes_once_and_whole() -> None:
    revisions = Revisions(4)
    first = list(revisions.take({"events": [event("a", 5), event("b", 6)], "fragment": True}))
    second = list(revisions.take({"events": [event("c", 6)], "fragment": True}))
    third = list(revisions.take({"events": [event("d", 6), event("e", 7)]}))
    assert [batch.revision for batch in first] == [5]
    assert second == []
    assert [(batch.revision, [item.key for item in batch.put]) for batch in third] == [(6, ["b", "c", "d"]), (7, ["e"])]


def test_an_answer_without_events_changes_nothing() -> None:
    assert list(Revisions(4).take({"created": True, "header": {"revision": "9"}})) == []


@pytest.mark.parametrize("revision", [3, 4], ids=["older", "the last one again"])
def test_a_revision_that_was_seen_breaks_the_feed(revision: int) -> None:
    with pytest.raises(Unanswered):
        list(Revisions(4).take({"events": [event("a", revision)]}))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["result", "error", "events", "kv", "key", "grpc_code", "message", "mod_revision"]),
                inner,
                max_size=3,
            )
        ),
        max_leaves=10,
    )
)
def test_whatever_the_other_side_sends_is_changes_or_a_failure_of_the_engine(sent: object) -> None:
    try:
        batches = list(Revisions(0).take(message_of("etcd", json.dumps(sent).encode())))
    except EngineFailed:
        return
    assert all(isinstance(batch, Batch) for batch in batches)


@pytest.mark.parametrize(
    ("message", "raised"),
    [
        ({"result": {"canceled": True, "compact_revision": "9"}}, Compacted),
        ({"result": {"canceled": True, "cancel_reason": "etcdserver: permission denied"}}, EngineRefused),
        ({"result": {"canceled": True}}, EngineRefused),
        ({"result": {"canceled": True, "cancel_reason": "etcdserver: no leader"}}, EngineLost),
        ({"error": {"grpc_code": 14, "http_code": 503, "message": "etcdserver: no leader"}}, EngineLost),
        ({"error": {"grpc_code": 14, "message": "rpc error: transport is closing"}}, Unanswered),
        ({}, Unanswered),
        ([], Unanswered),
    ],
    ids=["compacted", "denied", "no reason", "no leader", "an error", "closing", "empty", "a list"],
)
def test_a_feed_that_ends_says_why(message: object, raised: type[Exception]) -> None:
    with pytest.raises(raised) as caught:
        message_of("https://m:2379", json.dumps(message).encode())
    assert type(caught.value) is raised


def test_a_line_that_is_no_json_breaks_the_feed() -> None:
    for line in (b"", b"{", b"[" * 100_000, b"\xff"):
        with pytest.raises(Unanswered):
            message_of("https://m:2379", line)


@pytest.mark.parametrize(
    ("code", "message", "raised"),
    [
        (8, "etcdserver: mvcc: database space exceeded", EngineFull),
        (8, "etcdserver: too many requests", Unanswered),
        (5, "etcdserver: requested lease not found", LeaseGone),
        (11, "etcdserver: mvcc: required revision has been compacted", Compacted),
        (14, "etcdserver: no leader", EngineLost),
        (14, "etcdserver: request timed out", Unanswered),
        (14, "etcdserver: leader changed", Unanswered),
        (7, "etcdserver: permission denied", EngineRefused),
        (3, "etcdserver: request is too large", EngineRefused),
        (9, "etcdserver: auth: revision is old", EngineRefused),
        (2, "context deadline exceeded", Unanswered),
    ],
)
def test_what_an_error_of_etcd_means(code: int, message: str, raised: type[Exception]) -> None:
    error = named("https://m:2379", code, message)
    assert type(error) is raised
    assert str(error) == f"https://m:2379: {message.removeprefix('etcdserver: ')}"


def test_a_gateway_that_is_off_is_said() -> None:
    with pytest.raises(EngineRefused, match="enable-grpc-gateway"):
        understood("https://m:2379", 404, b"404 page not found\n")


@pytest.mark.parametrize("content", [b"", b"<html>", b"[]", b'{"code": "x"}'])
def test_a_server_that_is_no_etcd_is_no_answer(content: bytes) -> None:
    with pytest.raises(Unanswered, match="is this an etcd"):
        understood("https://m:2379", 502, content)
