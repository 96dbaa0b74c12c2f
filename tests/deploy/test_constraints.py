"""deploy/constraints.txt pins all that the program needs, with hashes, in releases that pyproject.toml allows."""

import re
import tomllib
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PINS = [
    Requirement(entry.partition("\\")[0].strip())
    for entry in re.split(r"\n(?=\w)", (ROOT / "deploy/constraints.txt").read_text())
    if not entry.startswith("#")
]
PYTHONS = ("3.12", "3.13")


def pinned(python: str) -> dict[str, Version]:
    """What pip installs for this Python on Linux."""
    environment = {"python_version": python, "python_full_version": f"{python}.0", "extra": ""}
    environment |= {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"}
    found: dict[str, Version] = {}
    for each in PINS:
        if each.marker is None or each.marker.evaluate(environment):
            (only,) = each.specifier
            found[canonicalize_name(each.name)] = Version(only.version)
    return found


@pytest.mark.parametrize("python", PYTHONS)
def test_every_package_that_is_needed_is_pinned_in_a_release_that_fits(python: str) -> None:
    releases = pinned(python)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    open_ends = [*project["dependencies"], *project["optional-dependencies"]["dns"]]
    seen: set[str] = set()
    while open_ends:
        needed = Requirement(open_ends.pop())
        name = canonicalize_name(needed.name)
        if needed.marker is not None and not needed.marker.evaluate({"python_version": python, "extra": ""}):
            continue
        assert name in releases, f"deploy/lock-packages: {name} is missing"
        if not needed.extras:
            assert needed.specifier.contains(releases[name], prereleases=True), f"{needed} against {releases[name]}"
        if name not in seen:
            seen.add(name)
            open_ends += requires(name) or []
    assert len(seen) > 40


def test_every_pin_has_hashes_of_its_files() -> None:
    text = (ROOT / "deploy/constraints.txt").read_text()
    for entry in re.split(r"\n(?=\w)", text)[1:]:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry.partition("\n")[0]
