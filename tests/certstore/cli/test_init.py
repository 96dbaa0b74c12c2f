import os
import pwd
import re
from pathlib import Path

import pytest
import yaml

from certstore.cli.init import settings_text
from certstore.model.settings.loading import parse_settings
from certstore.model.settings.models import ListenerKind
from tests.certstore.cli.command import certedge


def init(folder: Path, *words: str) -> tuple[int, str]:
    ran = certedge(folder, "init", *words, config=False)
    return ran.code, ran.out + ran.err


def test_first_settings_are_accepted_and_the_store_starts_with_the_main_host(tmp_path: Path) -> None:
    code, out = init(tmp_path, "--host", "Mail.Edge.Test.")
    assert code == 0
    assert "certedge check-config" in out
    assert yaml.safe_load((tmp_path / "store/main/site.yaml").read_text()) == {"host": "mail.edge.test"}
    checked = certedge(tmp_path, "check-config")
    assert checked.code == 0, checked.err
    assert certedge(tmp_path, "site", "add", "a.test").code == 0


def test_the_examples_that_are_commented_out_are_right_too() -> None:
    """Without the comment signs the settings are accepted, and have a listener of every kind."""
    uncommented = re.sub(r"^( *)# (?=- \{|[a-z_]+: )", r"\1", settings_text(), flags=re.MULTILINE)
    settings = parse_settings(uncommented, "edge.yaml")
    assert {listener.kind for listener in settings.listeners} == set(ListenerKind)
    assert settings.http.hsts == "max-age=31536000"
    assert settings.keys_group == "ssl-cert"


@pytest.mark.parametrize("there", ["edge.yaml", "store/main/site.yaml"])
def test_nothing_is_overwritten(tmp_path: Path, there: str) -> None:
    (tmp_path / there).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / there).write_text("mine")
    code, said = init(tmp_path, "--host", "mail.edge.test")
    assert code == 1
    assert f"{there} exists already" in said
    assert (tmp_path / there).read_text() == "mine"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / there]


@pytest.mark.parametrize("host", ["*.edge.test", "no host", "192.0.2.1", ""])
def test_an_invalid_host_name_is_wrong_usage(tmp_path: Path, host: str) -> None:
    assert init(tmp_path, "--host", host)[0] == 2
    assert list(tmp_path.iterdir()) == []


def test_another_folder_is_created_when_named(tmp_path: Path) -> None:
    assert init(tmp_path, "--host", "mail.edge.test", "--dir", "etc/certedge")[0] == 0
    assert (tmp_path / "etc/certedge/edge.yaml").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give files away")
def test_the_store_can_belong_to_the_services_user(tmp_path: Path) -> None:
    assert init(tmp_path, "--host", "mail.edge.test", "--owner", "nobody")[0] == 0
    uid = pwd.getpwnam("nobody").pw_uid
    assert {path.stat().st_uid for path in (tmp_path / "store", *(tmp_path / "store").rglob("*"))} == {uid}
    assert init(tmp_path, "--host", "mail.edge.test", "--dir", "other", "--owner", "no-such-user")[0] == 2
