"""Set-up links, sign-in, sessions, CSRF, one-time codes, throttling, and what must not work."""

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from certstore.admin.http.identity import COOKIE
from certstore.control.commands.on_people import People
from certstore.control.commands.requests import AddUserRequest
from certstore.control.commands.table import perform
from certstore.model.console.people import Role
from certstore.model.console.sign_in import FIRST_WAIT, FREE_FAILURES
from certstore.model.console.totp import code_at, step_at
from tests.certstore.admin.browser import hidden, sign_in, submit, try_sign_in
from tests.certstore.admin.console import PASSWORD, RunningConsole, running_console
from tests.certstore.stores import SITE


@pytest.fixture
def console(tmp_path: Path) -> Iterator[RunningConsole]:
    with running_console(tmp_path / "store") as running:
        yield running


@pytest.fixture
def anna(console: RunningConsole) -> RunningConsole:
    console.add_user("anna")
    return console


def test_first_link_makes_an_administrator_once(console: RunningConsole) -> None:
    client, link = console.client(), console.first_link()
    page = client.get(link)
    fields = hidden(page) | {"name": "Anna", "password": PASSWORD, "again": PASSWORD}
    done = client.post_form("/setup", fields)
    assert (done.status, done.headers["Location"]) == (303, "/")
    assert client.get("/").status == 200
    assert console.access.users.get("anna").role is Role.ADMIN
    assert console.client().get(link).status == 404


def test_first_link_ends_when_an_administrator_is_made_otherwise(console: RunningConsole) -> None:
    client, link = console.client(), console.first_link()
    fields = hidden(client.get(link)) | {"name": "eve", "password": PASSWORD, "again": PASSWORD}
    console.add_user("anna")
    assert client.get(link).status == 404
    assert client.post_form("/setup", fields).status == 422
    assert [user.name for user in console.access.users.all()] == ["anna"]


def test_new_password_from_the_command_line_ends_the_link_that_was_given_out(anna: RunningConsole) -> None:
    link = anna.access.invitations.make("anna")
    perform(People(anna.access, anna.writer), AddUserRequest("anna", Role.ADMIN, PASSWORD, replace=True))
    assert anna.client().get(f"/setup?link={link}").status == 404


@pytest.mark.parametrize(
    ("password", "again"),
    [("short", "short"), (PASSWORD, "another one altogether"), ("anna123456789", "anna123456789")],
)
def test_weak_or_mistyped_password_does_not_use_the_link_up(console: RunningConsole, password: str, again: str) -> None:
    client, link = console.client(), console.first_link()
    fields = hidden(client.get(link)) | {"name": "anna", "password": password, "again": again}
    assert client.post_form("/setup", fields).status == 422
    assert client.get(link).status == 200
    assert console.access.users.is_empty


def test_link_expires(console: RunningConsole) -> None:
    link = console.first_link()
    console.clock.forward(days=4)
    assert console.client().get(link).status == 404


def test_cookie_is_bound_to_this_host_and_kept_from_scripts_and_other_sites(anna: RunningConsole) -> None:
    client = anna.client()
    lines = try_sign_in(client, "anna", PASSWORD).headers.get_all("Set-Cookie") or []
    line = next(each for each in lines if f"{COOKIE}=" in each)
    assert COOKIE.startswith("__Host-")
    for word in ("HttpOnly", "Secure", "SameSite=strict", "Path=/"):
        assert word.lower() in line.lower(), word
    assert "domain" not in line.lower()


def test_wrong_name_and_wrong_password_read_the_same(anna: RunningConsole) -> None:
    texts = set()
    for name in ("anna", "nobody"):
        answer = try_sign_in(anna.client(), name, "not the password")
        assert answer.status == 401
        texts.add(re.sub(r'value="[^"]*"', "", answer.text))
    assert len(texts) == 1


def test_guessing_is_slowed_down_and_a_wait_lets_the_person_in(anna: RunningConsole) -> None:
    client = anna.client()
    statuses = [try_sign_in(client, "anna", f"guess number {number}").status for number in range(6)]
    assert statuses[:3] == [401, 401, 401]
    refused = try_sign_in(client, "anna", PASSWORD)
    assert refused.status == 429, "even the right one has to wait"
    assert int(refused.headers["Retry-After"]) >= 1
    anna.clock.forward(minutes=16)
    assert try_sign_in(client, "anna", PASSWORD).status == 303


def test_guesses_at_the_same_time_are_counted_like_guesses_in_turn(anna: RunningConsole) -> None:
    def guess(number: int) -> int:
        return try_sign_in(anna.client(), "anna", f"guess number {number}").status

    began = time.monotonic()
    with ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(guess, range(16)))
    waits = (time.monotonic() - began) / FIRST_WAIT.total_seconds()
    assert sorted(set(statuses)) == [401, 429]
    assert statuses.count(401) <= FREE_FAILURES + 1 + waits


def test_session_is_a_fresh_one_whatever_cookie_came_before(anna: RunningConsole) -> None:
    client = anna.client()
    client.cookies[COOKIE] = "planted-by-somebody-else"
    assert try_sign_in(client, "anna", PASSWORD).status == 303
    assert client.cookies[COOKIE] != "planted-by-somebody-else"
    thief = anna.client()
    thief.cookies[COOKIE] = "planted-by-somebody-else"
    assert thief.get("/").status == 303


def test_session_ends_by_idling_and_by_age(anna: RunningConsole) -> None:
    client = sign_in(anna)
    anna.clock.forward(hours=1)
    assert client.get("/").status == 200
    anna.clock.forward(hours=3)
    assert client.get("/").headers["Location"] == "/signin"
    client = sign_in(anna)
    for _ in range(13):
        anna.clock.forward(minutes=58)
        client.get("/")
    assert client.get("/").status == 303


def test_sign_out_everywhere_ends_every_session(anna: RunningConsole) -> None:
    here, there = sign_in(anna), sign_in(anna)
    assert submit(here, "/signout", {"everywhere": "true"}).status == 303
    assert (here.get("/").status, there.get("/").status) == (303, 303)


def test_removed_user_is_out_at_once(anna: RunningConsole) -> None:
    anna.add_user("bert")
    bert = sign_in(anna, "bert")
    assert submit(sign_in(anna), "/people/users/bert/remove").status == 303
    assert bert.get("/").status == 303
    assert try_sign_in(anna.client(), "bert", PASSWORD).status == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.test"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_form_of_another_origin_is_refused_with_a_good_token_too(anna: RunningConsole, headers: dict[str, str]) -> None:
    client = sign_in(anna)
    token = hidden(client.get("/profile"))["csrf"]
    answer = client.post_form("/sites/new", {"csrf": token, "host": SITE}, **headers)
    assert answer.status == 403
    assert SITE not in anna.writer.sites()


@pytest.mark.parametrize("token", ["", "0" * 64, "ünicode"])
def test_form_without_the_sessions_own_token_is_refused(anna: RunningConsole, token: str) -> None:
    client = sign_in(anna)
    assert client.post_form("/sites/new", {"csrf": token, "host": SITE}).status == 403
    assert SITE not in anna.writer.sites()


def test_token_of_another_session_is_refused(anna: RunningConsole) -> None:
    token = hidden(sign_in(anna).get("/profile"))["csrf"]
    assert sign_in(anna).post_form("/sites/new", {"csrf": token, "host": SITE}).status == 403


def test_api_takes_a_cookie_only_with_its_token_for_changes(anna: RunningConsole) -> None:
    client = sign_in(anna)
    assert client.get("/api/v1/me").status == 200
    path, settings = f"/api/v1/sites/{SITE}/settings", {"host": SITE}
    assert client.send("PUT", path, settings).status == 403
    token = hidden(client.get("/profile"))["csrf"]
    assert client.send("PUT", path, settings, X_CSRF_Token=token).status == 201


def test_nobody_is_signed_in_by_a_form_of_another_browser(anna: RunningConsole) -> None:
    fields = hidden(anna.client().get("/signin")) | {"name": "anna", "password": PASSWORD}
    assert anna.client().post_form("/signin", fields).status == 403


@pytest.mark.parametrize(
    "target", ["https://evil.test/", "//evil.test", "/\\evil.test", "/\r\nX: y", "javascript:1", "/ü"]
)
def test_sign_in_leads_nowhere_else(anna: RunningConsole, target: str) -> None:
    client = anna.client()
    fields = hidden(client.get("/signin")) | {"name": "anna", "password": PASSWORD, "next": target}
    answer = client.post_form("/signin", fields)
    assert (answer.status, answer.headers["Location"]) == (303, "/")
    assert "X" not in answer.headers


def test_sign_in_leads_to_the_page_that_was_asked_for(anna: RunningConsole) -> None:
    client = anna.client()
    assert client.get("/audit?before=5").headers["Location"] == "/signin?next=%2Faudit%3Fbefore%3D5"


def test_codes_are_asked_for_once_switched_on_and_none_is_taken_twice(anna: RunningConsole) -> None:
    client = sign_in(anna)
    secret = hidden(client.get("/profile"))["secret"]
    assert submit(client, "/profile/codes", {"secret": secret, "code": "000000"}).status == 422

    def code() -> str:
        return code_at(secret, step_at(anna.clock()))

    assert submit(client, "/profile/codes", {"secret": secret, "code": code()}).status == 303
    assert try_sign_in(anna.client(), "anna", PASSWORD).status == 401
    anna.clock.forward(seconds=60)
    used = code()
    sign_in(anna, code=used)
    assert try_sign_in(anna.client(), "anna", PASSWORD, used).status == 401
    anna.clock.forward(seconds=60)
    assert secret not in sign_in(anna, code=code()).get("/profile").text


def test_who_finds_a_browser_signed_in_can_not_guess_the_password_nor_replace_the_codes(anna: RunningConsole) -> None:
    client = sign_in(anna)
    secret, other = (hidden(client.get("/profile"))["secret"] for _ in range(2))
    step = step_at(anna.clock())
    assert submit(client, "/profile/codes", {"secret": secret, "code": code_at(secret, step)}).status == 303
    assert submit(client, "/profile/codes", {"secret": other, "code": code_at(other, step)}).status == 422
    for _ in range(5):
        assert submit(client, "/profile/codes", {"password": "guessed"}).status == 422
    refused = submit(client, "/profile/codes", {"password": PASSWORD})
    assert (refused.status, "Too many failed attempts" in refused.text) == (422, True)
    assert anna.access.users.get("anna").totp_secret == secret
    anna.clock.forward(minutes=16)
    assert submit(client, "/profile/codes", {"password": PASSWORD}).status == 303
    assert anna.access.users.get("anna").totp_secret == ""


def test_own_account_is_in_the_api_too(anna: RunningConsole) -> None:
    here, there = sign_in(anna), sign_in(anna)
    token = {"X_CSRF_Token": hidden(here.get("/profile"))["csrf"]}
    assert [each["is_this"] for each in here.get("/api/v1/me/sessions").json].count(True) == 1
    wrong = {"present": "not it", "new": "another afternoon in the hills"}
    assert here.send("PUT", "/api/v1/me/password", wrong, **token).status == 422
    assert here.send("PUT", "/api/v1/me/password", wrong | {"present": PASSWORD}, **token).status == 204
    assert (here.get("/api/v1/me").status, there.get("/api/v1/me").status) == (200, 401)
    secret = here.send("POST", "/api/v1/me/codes", **token).json["secret"]
    code = code_at(secret, step_at(anna.clock()))
    assert here.send("PUT", "/api/v1/me/codes", {"secret": secret, "code": "000000"}, **token).status == 422
    assert here.send("PUT", "/api/v1/me/codes", {"secret": secret, "code": code}, **token).status == 204
    assert anna.access.users.get("anna").totp_secret == secret
    assert here.send("POST", "/api/v1/me/codes/off", {"password": wrong["new"]}, **token).status == 204
    assert here.send("DELETE", "/api/v1/me/sessions", **token).status == 204
    assert here.get("/api/v1/me").status == 401


def test_password_is_changed_with_the_current_one_and_ends_other_sessions(anna: RunningConsole) -> None:
    here, there = sign_in(anna), sign_in(anna)
    new = "another afternoon in the hills"
    wrong = {"old": "not it", "new": new, "again": new}
    assert submit(here, "/profile/password", wrong).status == 422
    assert submit(here, "/profile/password", wrong | {"old": PASSWORD}).status == 303
    assert (here.get("/").status, there.get("/").status) == (200, 303)
    sign_in(anna, password=new)


def test_no_secret_is_in_the_audit_log_or_readable_in_the_store(anna: RunningConsole) -> None:
    client = sign_in(anna)
    try_sign_in(anna.client(), "anna", "a wrong but telling password")
    kept = b"".join(path.read_bytes() for path in anna.writer.layout.admin.iterdir())
    for secret in (PASSWORD, "a wrong but telling password", client.cookies[COOKIE]):
        assert secret.encode() not in kept
    assert {path.stat().st_mode & 0o777 for path in anna.writer.layout.admin.iterdir()} == {0o600}


def test_first_page_names_the_command_that_makes_an_administrator_until_there_is_one(console: RunningConsole) -> None:
    page = console.client().get("/signin").text
    assert "No administrator yet" in page
    assert "certedge admin user add NAME" in page
    console.add_user("anna")
    assert "No administrator yet" not in console.client().get("/signin").text
