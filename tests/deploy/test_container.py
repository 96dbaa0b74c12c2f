"""The container's files agree with each other and with the product: ports, user, paths, settings.

No image is built: a registry may be out of reach. What the image installs is the wheel, which test_wheel.py runs.
"""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from certstore.model.settings.loading import parse_settings
from certstore.model.settings.models import ListenerKind, Settings

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "container"
CONTAINERFILE = (FOLDER / "Containerfile").read_text()
COMPOSE: Any = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]["certedge"]
KUBERNETES: dict[str, Any] = {
    each["kind"]: each for each in yaml.safe_load_all((FOLDER / "kubernetes.yaml").read_text())
}
POD: Any = KUBERNETES["StatefulSet"]["spec"]["template"]["spec"]
CONTAINER: Any = POD["containers"][0]
STORE, CONFIG = "/var/lib/certedge/store", "/etc/certedge/edge.yaml"


@pytest.fixture(params=["compose", "kubernetes"])
def settings(request: pytest.FixtureRequest) -> Settings:
    if request.param == "kubernetes":
        return parse_settings(KUBERNETES["ConfigMap"]["data"]["edge.yaml"], "kubernetes.yaml")
    return parse_settings((FOLDER / "edge.yaml").read_text(), "edge.yaml")


def test_settings_are_right_and_name_the_volume(settings: Settings) -> None:
    assert str(settings.store) == STORE
    assert {each.kind: each.listen.port for each in settings.listeners} == {
        ListenerKind.HTTP: 80, ListenerKind.HTTPS: 443, ListenerKind.HEALTH: 8081
    }  # fmt: skip


def test_the_image_has_all_that_the_build_needs() -> None:
    copied = {
        source
        for line in re.findall(r"^COPY (?!--from)(.*) \S+$", CONTAINERFILE, re.MULTILINE)
        for source in line.split()
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    forced = list(project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"])
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert {"deploy", "README.md"} <= set(forced)
    assert not [line for line in ignored if line.strip("/*").partition("/")[0] in forced]
    for source in [*forced, "pyproject.toml", "README.md", "LICENSE", "certstore", "edge_addon"]:
        assert any(source == each or source.startswith(f"{each}/") for each in copied), source


def test_the_user_is_the_same_number_everywhere() -> None:
    user = re.search(r"^USER (\d+):(\d+)$", CONTAINERFILE, re.MULTILINE)
    assert user
    assert f"--uid {user[1]}" in CONTAINERFILE
    context = POD["securityContext"]
    assert {context["runAsUser"], context["runAsGroup"], context["fsGroup"]} == {int(user[1])}
    assert context["runAsNonRoot"] is True


def test_commands_find_the_settings_that_are_mounted() -> None:
    assert f"CERTEDGE_CONFIG={CONFIG}" in CONTAINERFILE
    assert f"./edge.yaml:{CONFIG}:ro" in COMPOSE["volumes"]
    mounts = {each["name"]: each["mountPath"] for each in CONTAINER["volumeMounts"]}
    assert mounts == {"settings": str(Path(CONFIG).parent), "store": STORE, "tmp": "/tmp"}
    claims = [each["metadata"]["name"] for each in KUBERNETES["StatefulSet"]["spec"]["volumeClaimTemplates"]]
    assert {*claims, *(each["name"] for each in POD["volumes"])} == set(mounts)
    assert f"store:{STORE}" in COMPOSE["volumes"]


def test_ports_are_those_of_the_listeners() -> None:
    exposed = {int(port) for port in re.findall(r"\d+", re.search(r"^EXPOSE (.*)$", CONTAINERFILE, re.MULTILINE)[1])}  # type: ignore[index]
    published = {int(each.partition(":")[2]) for each in COMPOSE["ports"]}
    named = {each["name"]: each["containerPort"] for each in CONTAINER["ports"]}
    assert published == {80, 443}
    assert published <= exposed
    assert named == {"http": 80, "https": 443, "health": 8081}
    assert {each["targetPort"] for each in KUBERNETES["Service"]["spec"]["ports"]} == {"http", "https"}
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        assert CONTAINER[probe]["httpGet"] == {"path": "/", "port": "health"}
    assert "http://127.0.0.1:8081/" in CONTAINERFILE


def test_labels_lead_to_the_pod() -> None:
    labels = KUBERNETES["StatefulSet"]["spec"]["template"]["metadata"]["labels"]
    assert KUBERNETES["Service"]["spec"]["selector"] == labels
    assert KUBERNETES["StatefulSet"]["spec"]["selector"]["matchLabels"] == labels
    assert KUBERNETES["StatefulSet"]["spec"]["serviceName"] == KUBERNETES["Service"]["metadata"]["name"]


def test_only_the_listeners_are_reachable_in_the_cluster() -> None:
    policy = KUBERNETES["NetworkPolicy"]["spec"]
    labels = KUBERNETES["StatefulSet"]["spec"]["template"]["metadata"]["labels"]
    assert policy["podSelector"] == {"matchLabels": labels}
    assert policy["policyTypes"] == ["Ingress"], "orders, mails and upstreams go anywhere"
    open_ports = {each["port"] for rule in policy["ingress"] for each in rule["ports"]}
    assert open_ports == {each["name"] for each in CONTAINER["ports"]}
    assert all("from" not in rule for rule in policy["ingress"]), "clients come from anywhere"


def test_open_connections_may_finish(settings: Settings) -> None:
    assert int(COMPOSE["stop_grace_period"].rstrip("s")) > settings.limits.drain_seconds
    assert POD["terminationGracePeriodSeconds"] > settings.limits.drain_seconds


def test_it_may_do_nothing_that_it_does_not_need() -> None:
    assert (COMPOSE["read_only"], COMPOSE["cap_drop"]) == (True, ["ALL"])
    assert CONTAINER["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}
    }  # fmt: skip
