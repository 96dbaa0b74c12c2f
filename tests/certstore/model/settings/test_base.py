"""What holds for all models of settings."""

import pytest
from pydantic import ValidationError

from certstore.model.settings.base import Model


class Example(Model):
    port: int = 1


def test_a_misspelt_key_is_an_error() -> None:
    with pytest.raises(ValidationError, match="prot"):
        Example.model_validate({"prot": 2})


def test_a_model_can_not_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Example().port = 2  # type: ignore[misc]


def test_an_error_does_not_repeat_the_value() -> None:
    with pytest.raises(ValidationError) as caught:
        Example.model_validate({"port": "correct-horse"})
    assert "correct-horse" not in str(caught.value)
