"""The TLS engines of the listeners, for tests that must hold on each: `engine_of`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from certstore.net import tls_engine
from certstore.net.tls_engine import EngineName

ENGINES = tuple(EngineName)


@contextmanager
def engine_of(name: EngineName) -> Iterator[None]:
    """This process and those that it starts serve on this engine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(tls_engine.ENGINE_VARIABLE, name.value)
        forget_engine()
        assert tls_engine.engine_in_force().name is name
        yield
    forget_engine()


def forget_engine() -> None:
    """The next question is decided anew."""
    tls_engine.engine_in_force.cache_clear()
    tls_engine.library_in_force.cache_clear()
