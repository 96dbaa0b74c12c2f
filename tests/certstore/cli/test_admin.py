"""`certedge admin …` with a control process and without: users who can sign in, tokens that the API takes."""

import json
import re
import ssl
import urllib.request
from pathlib import Path

import pytest

from certstore.model.layout import Layout
from tests.certstore.admin.browser import try_sign_in
from tests.certstore.admin.console import PASSWORD, Client
from tests.certstore.cli.command import add_site, certedge, write_edge
from tests.deadlines import wait_for
from tests.running import running_edge


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_edge(tmp_path)
    return tmp_path


def add_user(folder: Path, name: str, *options: str, password: str = PASSWORD) -> tuple[int, str]:
    ran = certedge(folder, "admin", "user", "add", name, "--password-stdin", *options, given=f"{password}\n".encode())
    assert PASSWORD not in ran.out + ran.err
    return ran.code, ran.out + ran.err


def test_user_is_added_without_a_control_process(folder: Path) -> None:
    assert add_user(folder, "anna") == (0, "user anna added\n")
    kept = (Layout(folder / "store").admin / "users.jsonl").read_text()
    assert "argon2id" in kept
    assert PASSWORD not in kept
    code, said = add_user(folder, "anna")
    assert (code, "--replace" in said) == (1, True)
    assert add_user(folder, "anna", "--replace")[0] == 0


@pytest.mark.parametrize(
    ("options", "password", "words"),
    [
        ((), "short", "at least 12 characters"),
        (("--role", "king"), PASSWORD, "none of admin, domain"),
        (("--role", "domain"), PASSWORD, "at least one site"),
        (("--site", "main"), PASSWORD, "manages all sites"),
    ],
)
def test_bad_users_are_refused_in_words(folder: Path, options: tuple[str, ...], password: str, words: str) -> None:
    code, said = add_user(folder, "anna", *options, password=password)
    assert code == 2
    assert words in said


def test_token_is_printed_once_and_only_its_digest_kept(folder: Path) -> None:
    ran = certedge(folder, "admin", "token", "add", "ci", "--scope", "read", "--json")
    token = ran.json["token"]
    assert re.fullmatch(r"cet_[0-9a-f]{12}_[A-Za-z0-9_-]{43}", token)
    assert token[17:] not in (Layout(folder / "store").admin / "tokens.jsonl").read_text()
    assert certedge(folder, "admin", "token", "add", "ci", "--scope", "all").code == 2


def test_token_has_a_last_day(folder: Path) -> None:
    add = ("admin", "token", "add", "ci", "--scope", "read", "--ends")
    assert certedge(folder, *add, "2999-12-31", "--json").code == 0
    for day, words in (("tomorrow", "YEAR-MONTH-DAY"), ("2001-01-01", "in the future")):
        ran = certedge(folder, *add, day)
        assert ran.code == 2
        assert words in ran.err
    (token,) = certedge(folder, "admin", "token", "list", "--json").json["tokens"]
    assert token["ends_at"].startswith("3000-01-01T00:00:00")
    assert "never" in certedge(folder, "admin", "token", "list").out


@pytest.mark.parametrize(
    "words",
    [("token", "add", "ci", "--scope", "read"), ("user", "add", "bert", "--role", "domain", "--password-stdin")],
    ids=lambda words: words[0],
)
def test_site_that_is_not_there_is_refused_with_the_nearest_name(folder: Path, words: tuple[str, ...]) -> None:
    add_site(folder, "webmail.client-a.test")
    wrong = ("--site", "webmail.client-a.tset")
    ran = certedge(folder, "admin", *words, *wrong, given=f"{PASSWORD}\n".encode())
    assert ran.code == 2
    assert "there is no site webmail.client-a.tset" in ran.err
    assert "did you mean webmail.client-a.test?" in ran.err
    listed = certedge(folder, "admin", words[0], "list", "--json").json
    assert listed == {f"{words[0]}s": []}


def test_running_service_takes_users_and_tokens_at_once_and_prints_a_first_link(tmp_path: Path) -> None:
    """`certedge run` with its console on a port that the system chose, and the command line beside it."""
    with running_edge(tmp_path, {"listeners": [{"kind": "https"}]}) as edge:
        edge.control_pid()

        def said(pattern: str) -> re.Match[str]:
            found = wait_for(lambda: re.search(pattern, edge.stderr), pattern, seconds=60)
            assert found is not None
            return found

        port = int(said(r"the console is on https://127\.0\.0\.1:(\d+)")[1])
        link = said(r"Open this one-time link to create the account: https://127\.0\.0\.1:\d+(/setup\?link=\S+)")[1]
        assert Client(port).get(link).status == 200
        code, words = add_user(tmp_path, "anna")
        assert code == 0, words
        client = Client(port)
        assert try_sign_in(client, "anna", PASSWORD).status == 303
        assert client.get("/").status == 200
        token = certedge(tmp_path, "admin", "token", "add", "ci", "--scope", "read", "--json").json["token"]
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        request = urllib.request.Request(
            f"https://127.0.0.1:{port}/api/v1/sites", headers={"Authorization": f"Bearer {token}"}
        )
        with urllib.request.urlopen(request, timeout=60, context=context) as response:
            assert json.load(response)["main"]["site"] == "main"


def test_people_and_tokens_are_listed_and_removed(folder: Path) -> None:
    add_site(folder, "webmail.client-a.test")
    add_user(folder, "anna")
    add_user(folder, "bert", "--role", "domain", "--site", "webmail.client-a.test")
    made = certedge(folder, "admin", "token", "add", "monitoring", "--scope", "read", "--json").json
    listed = certedge(folder, "admin", "user", "list")
    assert listed.code == 0
    assert re.search(r"bert +domain +webmail\.client-a\.test +password", listed.out)
    assert [each["name"] for each in certedge(folder, "admin", "user", "list", "--json").json["users"]] == [
        "anna",
        "bert",
    ]
    assert re.search(
        rf"{made['key']} +monitoring +read +all +command line", certedge(folder, "admin", "token", "list").out
    )

    gone = certedge(folder, "admin", "user", "remove", "bert")
    assert (gone.code, gone.out) == (0, "user bert removed and signed out everywhere\n")
    assert certedge(folder, "admin", "token", "remove", made["key"]).code == 0
    assert certedge(folder, "admin", "token", "list", "--json").json == {"tokens": []}
    for words, said in {
        ("user", "remove", "bert"): "there is no user 'bert'",
        ("user", "remove", "anna"): "the last administrator",
        ("token", "remove", made["key"]): "there is no such token",
    }.items():
        refused = certedge(folder, "admin", *words)
        assert refused.code in (1, 2)
        assert said in refused.err
    log = (Layout(folder / "store").admin / "audit.jsonl").read_text()
    assert "user.remove" in log
    assert "token.remove" in log
