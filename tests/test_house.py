"""The house stays in order: every package has a complete map, every module its tests, and coverage never falls."""

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
ELSEWHERE = Path("tests/tested_elsewhere.yaml")
"""Modules that no test module of their name covers, each with the one that does. The list only shrinks."""

PACKAGES = sorted(
    folder.relative_to(ROOT) for half in ("certstore", "edge_addon") for folder in (ROOT / half).rglob("__init__.py")
)
MODULES = sorted(
    path.relative_to(ROOT)
    for half in ("certstore", "edge_addon")
    for path in (ROOT / half).rglob("*.py")
    if path.name != "__init__.py"
)


def mirrored(module: Path) -> Path:
    return Path("tests") / module.with_name(f"test_{module.name}")


def listed(text: str) -> dict[str, str]:
    return yaml.safe_load(text) or {}


@pytest.mark.parametrize("package", PACKAGES, ids=str)
def test_the_map_of_a_package_names_everything_in_it(package: Path) -> None:
    folder = (ROOT / package).parent
    rooms = {path.stem for path in folder.glob("*.py") if path.name != "__init__.py"}
    rooms |= {path.parent.name for path in folder.glob("*/__init__.py")}
    text = ast.get_docstring(ast.parse((ROOT / package).read_text(encoding="utf-8"))) or ""
    words = set(re.findall(r"\w+", text))
    assert not sorted(rooms - words), f"{package} does not say what these are for"


def test_every_module_has_a_test_module_of_its_name_or_says_which_other_covers_it() -> None:
    elsewhere = listed((ROOT / ELSEWHERE).read_text(encoding="utf-8"))
    missing = [str(module) for module in MODULES if not (ROOT / mirrored(module)).exists()]
    assert sorted(set(missing) - elsewhere.keys()) == [], f"write {mirrored(Path('PACKAGE/MODULE.py'))} for these"
    assert sorted(elsewhere.keys() - set(missing)) == [], f"{ELSEWHERE} names modules that need no entry"


def test_what_covers_a_module_elsewhere_exists() -> None:
    elsewhere = listed((ROOT / ELSEWHERE).read_text(encoding="utf-8"))
    lost = [test for test in elsewhere.values() if not (ROOT / test).is_file()]
    assert not lost, f"{ELSEWHERE} names test modules that don't exist"


def earlier(path: Path) -> list[str]:
    """The file as it was at each commit that changed it; nothing outside a clone."""

    def git(*words: str) -> str:
        run = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
        return run.stdout if run.returncode == 0 else ""

    return [git("show", f"{commit}:{path}") for commit in git("log", "--format=%H", "--", str(path)).split()]


def test_the_list_of_modules_tested_elsewhere_only_shrinks() -> None:
    before = [len(listed(text)) for text in earlier(ELSEWHERE) if text]
    now = len(listed((ROOT / ELSEWHERE).read_text(encoding="utf-8")))
    assert now <= min(before, default=now), f"{ELSEWHERE} had {min(before)} entries: write a test module instead"


def test_the_floor_of_coverage_only_rises() -> None:
    def floor(text: str) -> float:
        return float(tomllib.loads(text).get("tool", {}).get("coverage", {}).get("report", {}).get("fail_under", 0))

    before = [floor(text) for text in earlier(Path("pyproject.toml")) if text]
    now = floor((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert now >= max(before, default=now), f"fail_under was {max(before)}: write a test instead"
