"""Which requests are HTTP-01 validations, and how they are answered."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certstore.model.challenge import CHALLENGE_PATH
from edge_addon.http.http01 import NOT_FOUND, UNKNOWN, answer_challenge, token_of

TOKEN = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA"


def lookup(token: str) -> bytes | None:
    return b"authorization" if token == TOKEN else None


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_known_token_gets_its_key_authorization(method: str) -> None:
    answer = answer_challenge(method, CHALLENGE_PATH + TOKEN, lookup)
    assert answer is not None
    assert (answer.status, answer.content_type, answer.body) == (200, "application/octet-stream", b"authorization")


def test_query_is_ignored() -> None:
    assert token_of(f"{CHALLENGE_PATH}{TOKEN}?x=y") == TOKEN


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/.well-known/acme-challenge",
        "/x/.well-known/acme-challenge/" + TOKEN,
        "/.WELL-KNOWN/acme-challenge/x",
        "*",
    ],
)
def test_other_paths_are_not_answered(target: str) -> None:
    assert answer_challenge("GET", target, lookup) is None


@pytest.mark.parametrize(
    "token",
    [
        "",
        "short",
        "a" * 15,
        "a" * 129,
        "a" * 20 + "/",
        "../" * 8,
        "a" * 20 + "%2e",
        "a" * 20 + "=",
        "ä" * 20,
        "a" * 20 + "\n",
    ],
)
def test_invalid_tokens_are_never_looked_up(token: str) -> None:
    def fail(_: str) -> bytes | None:
        raise AssertionError("looked up")

    assert answer_challenge("GET", CHALLENGE_PATH + token, fail) in (NOT_FOUND, UNKNOWN)


def test_unknown_token_and_other_methods_get_the_same_404() -> None:
    assert answer_challenge("GET", CHALLENGE_PATH + "b" * 43, lookup) == UNKNOWN
    assert answer_challenge("POST", CHALLENGE_PATH + TOKEN, lookup) == NOT_FOUND
    assert replace(UNKNOWN, may_pass=False) == NOT_FOUND


@pytest.mark.parametrize(
    ("method", "name", "may_pass"),
    [
        ("GET", "b" * 43, True),
        ("HEAD", "b" * 43, True),
        ("GET", "test.txt", True),
        ("GET", "test?x=/../", True),
        ("POST", "b" * 43, False),
        ("CONNECT", "b" * 43, False),
        ("PROPFIND", "b" * 43, False),
        ("GET", "", False),
        ("GET", "?x", False),
        ("GET", ".", False),
        ("GET", "..", False),
        ("GET", "../../admin", False),
        ("GET", "x/../../admin", False),
        ("GET", "x/y", False),
        ("GET", "%2e%2e/admin", False),
        ("GET", "..%2fadmin", False),
        ("GET", "x%00", False),
        ("GET", "..\\admin", False),
        ("GET", "..;/admin", False),
        ("GET", ".htaccess", False),
        ("GET", "x" * 256, False),
        ("GET", "ä", False),
        ("GET", "test\n", False),
    ],
)
def test_only_one_plain_name_may_pass_to_an_acme_client_behind(method: str, name: str, *, may_pass: bool) -> None:
    answer = answer_challenge(method, CHALLENGE_PATH + name, lookup)
    assert answer is not None
    assert (answer.status, answer.may_pass) == (404, may_pass)


@given(st.text())
def test_only_the_tokens_alphabet_is_ever_looked_up(text: str) -> None:
    token = token_of(CHALLENGE_PATH + text)
    assert token is None or (16 <= len(token) <= 128 and token.replace("-", "").replace("_", "").isalnum())
    assert token is None or token.isascii()
