import pytest

from certstore.model.challenge import is_key_authorization, is_token


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA", True),
        ("a" * 15, False),
        ("a" * 129, False),
        ("a" * 16 + "\n", False),
        ("../" + "a" * 20, False),
        ("é" * 20, False),
        ("", False),
    ],
    ids=["a real one", "too short", "too long", "a newline", "a path", "other letters", "nothing"],
)
def test_token_is_base64url_within_bounds(text: str, is_one: bool) -> None:
    assert is_token(text) is is_one


@pytest.mark.parametrize(
    ("content", "is_one"),
    [
        (b"token.thumbprint", True),
        (b"token.thumbprint\n", True),
        (b"-----BEGIN PRIVATE KEY-----", False),
        (b"token thumbprint", False),
        (b"", False),
    ],
)
def test_only_a_key_authorization_may_be_shown(content: bytes, is_one: bool) -> None:
    assert is_key_authorization(content) is is_one
