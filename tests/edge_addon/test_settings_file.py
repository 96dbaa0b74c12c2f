from pathlib import Path

import pytest

from edge_addon.settings_file import MAX_BYTES, BadSettings, load_settings


def test_settings_are_read_from_the_file(tmp_path: Path) -> None:
    config = tmp_path / "edge.yaml"
    config.write_text("\ufeffworkers: 3\n", encoding="utf-8")

    assert load_settings(config).workers == 3


def test_an_endless_file_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "edge.yaml"
    with config.open("wb") as file:
        file.truncate(1 << 40)

    with pytest.raises(BadSettings, match=f"edge.yaml: the file has more than {MAX_BYTES} bytes"):
        load_settings(config)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        pytest.param(None, "there is no such file; name the file with --config", id="gone"),
        pytest.param(b"workers: 1\n\xff", "byte 11 is not UTF-8", id="no text"),
        pytest.param(b"workers: many\n", "edge.yaml:1: workers", id="a wrong value"),
    ],
)
def test_an_unusable_file_is_refused_with_the_reason(tmp_path: Path, content: bytes | None, found: str) -> None:
    config = tmp_path / "edge.yaml"
    if content is not None:
        config.write_bytes(content)

    with pytest.raises(BadSettings, match=found):
        load_settings(config)
