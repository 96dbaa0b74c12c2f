"""Without `cluster:` in edge.yaml, no module of the cluster is loaded: by control, workers, commands or console."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.certificates import CertificateAuthority
from tests.deadlines import wait_for
from tests.running import running_edge, write_site

ROOT = Path(__file__).parents[3]
CA = CertificateAuthority()
ACT_WHEN_IMPORTED = ("__main__.py", "trial_child.py", "unlock_child.py", "entry.py")
IMPORT = """
import importlib, json, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
print(json.dumps(sorted(name for name in sys.modules if name.startswith("certstore.cluster"))))
"""


def test_no_module_loads_one_of_the_cluster_when_it_is_imported() -> None:
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for half in ("certstore", "edge_addon")
        for path in sorted((ROOT / half).rglob("*.py"))
        if not path.is_relative_to(ROOT / "certstore/cluster") and path.name not in ACT_WHEN_IMPORTED
    ]
    ran = subprocess.run([sys.executable, "-c", IMPORT, *modules], capture_output=True, text=True, check=True, cwd=ROOT)
    assert json.loads(ran.stdout.splitlines()[-1]) == []


@pytest.fixture(scope="module")
def without_cluster(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment in which the product has no certstore/cluster at all."""
    folder = tmp_path_factory.mktemp("product")
    for package in ("certstore", "edge_addon"):
        ignored = shutil.ignore_patterns("__pycache__", *(["cluster"] if package == "certstore" else []))
        shutil.copytree(ROOT / package, folder / package, ignore=ignored)
    # The model of records is what decides, and stays.
    shutil.copytree(ROOT / "certstore/model", folder / "certstore/model", dirs_exist_ok=True)
    return {"PYTHONPATH": str(folder), "PYTHONSAFEPATH": "1"}


def test_the_copy_has_no_cluster(without_cluster: dict[str, str], tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", "import certstore.store.writer, certstore.cluster.engine"],
        env={**os.environ, **without_cluster},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "No module named 'certstore.cluster'" in ran.stderr


def test_a_single_node_runs_without_the_package(without_cluster: dict[str, str], tmp_path: Path) -> None:
    settings = {"listeners": [{"kind": "https"}, {"kind": "health"}], "upstream": "http://127.0.0.1:1"}
    first, second = CA.issue("client-a.test"), CA.issue("client-b.test")
    with running_edge(tmp_path, settings, {"client-a.test": first}, environment=without_cluster) as edge:
        assert edge.fingerprint("https", "client-a.test") == first.fingerprint
        write_site(edge.store, "client-b.test", second)
        wait_for(lambda: edge.fingerprint("https", "client-b.test") == second.fingerprint, "the drop is served")
        for words in (("status", "--json"), ("site", "list"), ("cluster", "--help")):
            ran = subprocess.run(
                [sys.executable, "-m", "edge_addon.cli", *words, *(() if "--help" in words else ("-c", edge.config))],
                env={**os.environ, **without_cluster},
                cwd=tmp_path,
                capture_output=True,
                text=True,
                check=False,
            )
            assert ran.returncode in (0, 3), ran.stderr
