from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from certstore.model.settings.models import ListenerKind, Settings
from edge_addon.demo.arrangement import DROP_NAME, KINDS, MARK, NotOurFolder, arrange, bind_listeners, claim_folder

PORTS = {kind: 20000 + index for index, kind in enumerate(KINDS)}


def test_missing_folder_is_made(tmp_path: Path) -> None:
    claim_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b" / MARK).is_file()


def test_folder_of_an_earlier_demo_is_emptied(tmp_path: Path) -> None:
    claim_folder(tmp_path)
    (tmp_path / "store" / "main").mkdir(parents=True)
    (tmp_path / "edge.yaml").write_text("old")
    claim_folder(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == [MARK]


def test_link_in_an_earlier_demo_is_removed_and_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("keep")
    claim_folder(tmp_path / "demo")
    (tmp_path / "demo" / "link").symlink_to(outside)
    claim_folder(tmp_path / "demo")
    assert (outside / "precious").read_text() == "keep"


def test_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(NotOurFolder, match="--dir"):
        claim_folder(tmp_path)
    assert (tmp_path / "thesis.txt").exists()


def test_written_settings_are_valid_and_name_every_listener(tmp_path: Path) -> None:
    arrangement = arrange(tmp_path, PORTS, web=1, imap=2, smtp=3, now=datetime.now(UTC))
    settings = Settings.model_validate(yaml.safe_load(arrangement.edge_yaml.read_text()))
    assert {listener.kind: listener.listen.port for listener in settings.listeners} == {
        ListenerKind(kind): port for kind, port in PORTS.items()
    }


def test_each_site_has_its_drop_and_one_has_none(tmp_path: Path) -> None:
    arrangement = arrange(tmp_path, PORTS, web=1, imap=2, smtp=3, now=datetime.now(UTC))
    with_drop = {path.parent.name for path in (tmp_path / "store").rglob(DROP_NAME)}
    assert with_drop == set(arrangement.pairs)
    with_settings = {path.parent.name for path in (tmp_path / "store").rglob("site.yaml")}
    assert with_settings - with_drop == {"webmail.client-b.test"}


def test_listeners_have_a_port_each() -> None:
    listeners = bind_listeners()
    try:
        assert len({listener.getsockname()[1] for listener in listeners.values()}) == len(KINDS)
    finally:
        for listener in listeners.values():
            listener.close()
