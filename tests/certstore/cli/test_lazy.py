from importlib import import_module

import pytest

from certstore.cli import lazy


@pytest.mark.parametrize("name", lazy.__all__)
def test_a_lazy_module_has_what_the_real_one_has(name: str) -> None:
    stand_in = getattr(lazy, name)
    real = import_module(stand_in.__name__)
    assert stand_in.__name__.endswith(f".{name}")
    assert all(getattr(stand_in, each) is held for each, held in vars(real).items() if not each.startswith("__"))


def test_a_lazy_module_lacks_what_the_real_one_lacks() -> None:
    with pytest.raises(AttributeError, match="no_such_command"):
        _ = lazy.requests.no_such_command  # type: ignore[attr-defined]
