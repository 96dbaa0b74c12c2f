"""The page on who may do what says of a real store what is where, and who may read it."""

import re
from pathlib import Path

import pytest

from tests.certificates import CertificateAuthority
from tests.running import running_edge

PAGE = (Path(__file__).parents[2] / "deploy/security/README.md").read_text()
TABLE = dict(re.findall(r"^\| ((?:`[^`]+`(?:, )?)+) \| (0\d{3}) \|", PAGE, re.MULTILINE))
MODES = {name.rstrip("/"): int(mode, 8) for names, mode in TABLE.items() for name in re.findall(r"`([^`]+)`", names)}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As a service that runs has it."""
    folder, ca = tmp_path_factory.mktemp("edge"), CertificateAuthority()
    with running_edge(folder, {"listeners": [{"kind": "https"}]}, {"a.test": ca.issue("a.test")}) as edge:
        modes = {path.name: path.stat().st_mode & 0o777 for path in edge.store.iterdir()}
        (folder / "modes").write_text("".join(f"{name} {mode:04o}\n" for name, mode in sorted(modes.items())))
        secret = [
            path for name in ("archive", "admin", "accounts", "state/orders") for path in (edge.store / name).rglob("*")
        ]
        (folder / "open").write_text("\n".join(str(path) for path in secret if path.stat().st_mode & 0o077))
    return folder


def test_everything_at_the_top_of_the_store_is_on_the_page(store: Path) -> None:
    found = dict(line.split() for line in (store / "modes").read_text().splitlines())
    hidden = {name for name in found if name.startswith(".")}
    assert set(found) - hidden == MODES.keys()


@pytest.mark.parametrize("name", sorted(MODES))
def test_it_has_the_mode_that_the_page_says(store: Path, name: str) -> None:
    found = dict(line.split() for line in (store / "modes").read_text().splitlines())
    assert int(found[name], 8) == MODES[name]


def test_no_secret_is_open_to_others(store: Path) -> None:
    assert (store / "open").read_text() == ""


def test_the_links_lead_somewhere() -> None:
    for path, _, part in re.findall(r"\]\(((?!http)[^)#]+)(#([^)]+))?\)", PAGE):
        target = Path(__file__).parents[2] / "deploy/security" / path
        assert target.is_file(), path
        headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
        assert not part or part in {re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings}
