from datetime import UTC, datetime

import pytest

from certstore.model.console.authorization import Scope
from certstore.model.console.people import InvalidPerson, Role, Token, User, check_password, check_role, parse_user_name

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize(("text", "name"), [("Anna", "anna"), (" bert ", "bert"), ("c.d@x.test", "c.d@x.test")])
def test_names_are_in_lower_case(text: str, name: str) -> None:
    assert parse_user_name(text) == name


@pytest.mark.parametrize("text", ["", "-a", "a-", "a b", "ä", "a/b", "<b>", "a\n", "x" * 65, "../x", "a\x00b"])
def test_invalid_name_is_refused(text: str) -> None:
    with pytest.raises(InvalidPerson):
        parse_user_name(text if text != "a\n" else "a\nb")


@pytest.mark.parametrize("password", ["short", "x" * 40, "ababababababab", "anna likes it", "y" * 1030])
def test_weak_passwords_are_refused(password: str) -> None:
    with pytest.raises(InvalidPerson):
        check_password(password, "anna")


def test_long_sentence_is_a_good_password() -> None:
    check_password("a calm afternoon by the sea", "anna")


def test_domain_administrator_needs_sites_and_administrator_none() -> None:
    with pytest.raises(InvalidPerson):
        check_role(Role.DOMAIN, ())
    with pytest.raises(InvalidPerson):
        check_role(Role.ADMIN, ("a.test",))


def test_user_survives_json_and_shows_no_secret() -> None:
    user = User("anna", Role.DOMAIN, ("a.test",), NOW, "HASH", "SECRET", 5)
    assert User.from_json("anna", user.to_json()) == user
    assert "HASH" not in repr(user)
    assert "SECRET" not in repr(user)
    assert user.grant.scope is Scope.OPERATE
    assert not user.grant.reaches("b.test")


def test_token_survives_json_and_shows_no_digest() -> None:
    token = Token("ab", "ci", Scope.READ, None, NOW, "anna", "DIGEST")
    assert Token.from_json("ab", token.to_json()) == token
    assert "DIGEST" not in repr(token)
    assert not token.grant.is_person
