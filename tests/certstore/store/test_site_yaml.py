import os
import stat
from pathlib import Path

import pytest

from certstore.model.settings.models import SiteSettings, Source, Upstream
from certstore.store.errors import NotWritable
from certstore.store.site_yaml import read_site_file, write_site_file

EVERYTHING = SiteSettings(
    host="webmail.client-a.test",
    additional_names=("autodiscover.client-a.test", "*.client-a.test"),
    certificate=Source.FILE,
    upstream=(Upstream(url="http://10.0.0.5:8080"), Upstream(url="https://[::1]:8443", health="/ping")),
    inspect=True,
    contact=("ops@client-a.test",),
    profile="shortlived",
    key_type="ec256+rsa2048",
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "client-a" / "site.yaml"


@pytest.mark.parametrize(
    "settings",
    [
        EVERYTHING,
        SiteSettings(host="a.test"),
        SiteSettings(host="a.test", upstream=(Upstream(url="unix:/run/web"),)),
        SiteSettings(host="xn--bcher-kva.test"),
    ],
    ids=["everything", "only the host", "one upstream", "international"],
)
def test_what_is_written_is_read_back(path: Path, settings: SiteSettings) -> None:
    write_site_file(path, settings)
    assert read_site_file(path).settings == settings


def test_one_upstream_is_written_as_people_write_it(path: Path) -> None:
    write_site_file(path, SiteSettings(host="a.test", upstream=(Upstream(url="http://10.0.0.5:8080"),)))
    assert path.read_text() == "host: a.test\nupstream: http://10.0.0.5:8080\n"


def test_mode_is_kept_and_a_new_file_is_readable_by_all(path: Path) -> None:
    write_site_file(path, EVERYTHING)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    path.chmod(0o660)
    write_site_file(path, EVERYTHING)
    assert stat.S_IMODE(path.stat().st_mode) == 0o660


def test_what_a_kill_left_of_an_earlier_write_goes_with_the_next(path: Path) -> None:
    write_site_file(path, EVERYTHING)
    (path.parent / ".site.yaml.0123abcd").write_text("half")
    write_site_file(path, EVERYTHING)
    assert [each.name for each in path.parent.iterdir()] == ["site.yaml"]


def test_a_link_is_not_replaced_but_named(path: Path) -> None:
    path.parent.mkdir()
    path.symlink_to("/etc/managed/site.yaml")
    with pytest.raises(NotWritable, match=r"link to /etc/managed/site\.yaml; change that file instead"):
        write_site_file(path, EVERYTHING)
    assert path.is_symlink()


def test_a_folder_that_can_not_be_written_is_a_clear_error(path: Path) -> None:
    path.parent.parent.joinpath("client-a").write_text("a file where the folder should be")
    with pytest.raises(NotWritable, match=r"site\.yaml can't be written"):
        write_site_file(path, EVERYTHING)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "host"),
        (b"host: a.test\nhots: b\n", "hots"),
        (b"host: [\n", "site.yaml"),
        (b"host: 'not a host!'\n", "host"),
        (b"\xff\xfe\x00bin", "site.yaml"),
        (b"#" * 300_000, "bytes"),
        (b"host: !!python/object/apply:os.system [id]\n", "site.yaml"),
    ],
    ids=["empty", "unknown key", "bad YAML", "no host name", "binary", "huge", "a tag that would run code"],
)
def test_a_file_that_can_not_be_used_is_a_result_with_its_reason(path: Path, content: bytes, words: str) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    found = read_site_file(path)
    assert found.settings is None
    assert found.problem is not None
    assert words in found.problem


def test_several_faults_are_one_line_of_a_log(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("host: a b\ninspect: maybe\n")
    problem = read_site_file(path).problem
    assert problem is not None
    assert problem.isprintable()
    assert "site.yaml:1: host" in problem
    assert "; " in problem
    assert "site.yaml:2: inspect" in problem


@pytest.mark.timeout(10)
def test_no_pipe_or_folder_in_its_place_can_hang_the_reader(path: Path) -> None:
    path.parent.mkdir()
    os.mkfifo(path)
    assert "not a regular file" in str(read_site_file(path).problem)
    path.unlink()
    path.mkdir()
    assert "not a regular file" in str(read_site_file(path).problem)


def test_no_file_is_no_problem(path: Path) -> None:
    found = read_site_file(path)
    assert (found.is_absent, found.settings, found.problem) == (True, None, None)
