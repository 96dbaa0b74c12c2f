"""deploy/limits tells the truth about what can be read from the program itself."""

import tomllib
from pathlib import Path

from certstore.model.settings.models import ListenerKind

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "deploy/limits/README.md").read_text()


def test_no_listener_speaks_http_3() -> None:
    assert "speak HTTP/3" in PAGE
    assert not [kind for kind in ListenerKind if "quic" in kind or "h3" in kind or "http3" in kind]


def test_debian_12_needs_another_python() -> None:
    requires = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert requires == ">=3.12"
    assert "a Python before 3.12" in PAGE
    assert "uv python install 3.12" in PAGE


def test_the_readme_leads_to_it_and_first_to_what_is_wrong() -> None:
    head, _, _ = (ROOT / "README.md").read_text().partition("\n## ")
    assert "(#when-something-is-wrong)" in head
    assert "(deploy/limits/README.md)" in head
