"""What may be told of the service, from a real store."""

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from certstore.model.certificate.findings import Finding
from certstore.model.cluster.standing import ClusterStanding, NodeFacts
from certstore.model.layout import Layout
from certstore.model.notify.standing_problems import FoundProblem
from certstore.model.service_state import ServiceState, Verdict
from certstore.model.settings.models import Settings
from certstore.monitoring.service_report import start_of, write_report
from certstore.monitoring.standing_problems import ABSENT, find_problems
from certstore.store.writer import StoreWriter
from tests.certstore.stores import acquire

NOW = datetime.now(UTC)
CLUSTER = Settings.model_validate(
    {"cluster": {"engine": ["https://127.0.0.1:2379"], "ca_file": "ca.pem", "username": "a", "password_file": "b"}}
)


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[StoreWriter]:
    with acquire(tmp_path) as writer:
        yield writer


def found(writer: StoreWriter, settings: Settings | None = None, *of_main: Finding) -> dict[str, FoundProblem]:
    main = writer.site("main").certificate
    return {each.key: each for each in find_problems(settings or Settings(), writer.layout, main, of_main, NOW)}


def write_state(layout: Layout, **facts: object) -> None:
    given = {
        "pid": os.getpid(), "started": start_of(os.getpid()), "config": "/etc/edge.yaml", "settings": "d",
        "applied_at": NOW, "begun": 1, "ended": 1, "verdict": Verdict.SERVING, "message": "",
    }  # fmt: skip
    write_report(layout, ServiceState(**(given | facts)))  # type: ignore[arg-type]


def test_a_service_in_order_has_none(writer: StoreWriter) -> None:
    assert found(writer) == {}


def test_refused_settings_are_told_without_what_stands_in_them(writer: StoreWriter) -> None:
    write_state(writer.layout, verdict=Verdict.REFUSED, message="no such key: s3cret")
    problems = found(writer)
    assert list(problems) == ["settings_refused"]
    assert "s3cret" not in problems["settings_refused"].message
    assert "check-config" in problems["settings_refused"].message


def test_half_served_listeners_are_one_problem_whatever_their_words(writer: StoreWriter) -> None:
    write_state(writer.layout, problems=("0.0.0.0:443 is half served",))
    assert list(found(writer)) == ["listener_incomplete"]


def test_readiness_is_told_but_no_end_of_a_certificate(writer: StoreWriter) -> None:
    listening = Settings.model_validate({"listeners": [{"kind": "https", "listen": "127.0.0.1:0"}]})
    assert list(found(writer, listening)) == ["no_workers"]


def test_of_the_main_site_only_what_concerns_the_service(writer: StoreWriter) -> None:
    clock, chain = Finding("clock_off", "this server's clock is 5 minutes behind"), Finding("self_signed", "no CA")
    assert list(found(writer, None, clock, chain)) == ["clock_off main"]


def test_every_node_tells_its_own_and_one_tells_of_the_others(writer: StoreWriter) -> None:
    assert ABSENT in found(writer, CLUSTER)
    nodes = (
        NodeFacts("edge-a", "full", "in_step", problems=(("file_missing", "a.test: hook"),)),
        NodeFacts("edge-b", "full", "gone", problems=(("node_gone", "edge-b does not report"),)),
    )
    standing = ClusterStanding(
        "edge-a", "c" * 16, datetime.now(UTC), True, NOW, "2 nodes", nodes=nodes,
        problems=(("cluster_detached", "this node can't reach the engine"), ("cluster_conflict", "solved yesterday")),
    )  # fmt: skip
    writer.layout.worker_reports.mkdir(exist_ok=True)
    writer.layout.cluster_standing.write_text(json.dumps(standing.to_json()))
    problems = found(writer, CLUSTER)
    assert {key: each.is_common for key, each in problems.items()} == {
        "cluster_detached": False, "file_missing edge-a": False, "node_gone edge-b": True,
    }  # fmt: skip
