import pytest

from certstore.model.certificate.library import Unreadable, ask_library


class Panic(BaseException):
    """As a fault in the library's Rust code arrives."""


def raising(error: BaseException) -> object:
    def question() -> object:
        raise error

    return question


@pytest.mark.parametrize("error", [ValueError("x"), KeyError(99), AttributeError("x"), OverflowError(), Panic()])
def test_whatever_the_library_raises_is_unreadable(error: BaseException) -> None:
    with pytest.raises(Unreadable) as caught:
        ask_library(raising(error))  # type: ignore[arg-type]
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", [MemoryError(), KeyboardInterrupt(), SystemExit(1)])
def test_what_is_not_about_the_bytes_is_passed_on(error: BaseException) -> None:
    with pytest.raises(type(error)):
        ask_library(raising(error))  # type: ignore[arg-type]


def test_answer_is_passed_on() -> None:
    assert ask_library(lambda: 7) == 7
