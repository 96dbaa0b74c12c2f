"""What every model of the settings does."""

import pytest
from pydantic import ValidationError

from certstore.model.settings.base import Model


class Made(Model):
    password_file: str = ""


def test_a_misspelt_key_is_an_error_that_does_not_show_its_value() -> None:
    with pytest.raises(ValidationError, match="pasword_file") as refused:
        Made.model_validate({"pasword_file": "hunter2"})
    assert "hunter2" not in str(refused.value)


def test_a_model_can_not_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Made().password_file = "x"  # type: ignore[misc]
