"""Alert rules and dashboard: valid for promtool, and about metrics that exist."""

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from certstore.model.metrics import FAMILIES, Kind
from tests.peers import require_peer

MONITORING = Path(__file__).parents[2] / "deploy" / "monitoring"
NAME = re.compile(r"\bcertedge_\w+")


def known() -> set[str]:
    names = set(FAMILIES)
    for name, family in FAMILIES.items():
        if family.kind is Kind.HISTOGRAM:
            names |= {f"{name}_{end}" for end in ("bucket", "sum", "count")}
    return names


@pytest.mark.peer
@pytest.mark.parametrize("arguments", [("check", "rules", "alerts.yml"), ("test", "rules", "alerts_test.yml")])
def test_promtool_accepts_the_rules(arguments: tuple[str, ...]) -> None:
    command = [str(require_peer("promtool")), *arguments]
    ran = subprocess.run(command, cwd=MONITORING, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_rules_and_dashboard_use_existing_metrics() -> None:
    rules = yaml.safe_load((MONITORING / "alerts.yml").read_text())
    asked = {name for group in rules["groups"] for rule in group["rules"] for name in NAME.findall(rule["expr"])}
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    drawn = {name for panel in dashboard["panels"] for each in panel["targets"] for name in NAME.findall(each["expr"])}
    assert asked <= known()
    assert drawn <= known()
    assert len(drawn) > 10


def test_the_page_names_every_metric() -> None:
    text = (MONITORING / "README.md").read_text()
    assert set(NAME.findall(text)) == set(FAMILIES)


def test_dashboard_uses_only_existing_labels() -> None:
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    labels = {label for family in FAMILIES.values() for label in family.labels} | {"le", "instance"}
    for panel in dashboard["panels"]:
        for each in panel["targets"]:
            used = re.findall(r"by \(([^)]*)\)", each["expr"])
            assert {name.strip() for group in used for name in group.split(",")} <= labels, panel["title"]
