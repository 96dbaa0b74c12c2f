"""Dataclasses as facts that JSON can hold, and back: for what is kept on disk or sent to another process of ours.

Knows dataclasses, tuples, mappings, enums, times and bytes (base64), but no class of ours.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import date
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from pydantic import TypeAdapter


def encode(value: object, *, has_defaults: bool = False) -> Any:
    """A value for `json.dumps`. Without `has_defaults`, a field that has its default is left out."""
    match value:
        case StrEnum():
            return value.value
        case bytes():
            return base64.b64encode(value).decode("ascii")
        case date():
            return value.isoformat()
        case tuple() | list():
            return [encode(each) for each in value]
        case Mapping():
            return {key: encode(each) for key, each in value.items()}
    if is_dataclass(value):
        given = [(each, getattr(value, each.name)) for each in fields(value)]
        return {each.name: encode(held) for each, held in given if has_defaults or held != each.default}
    return value


def decode[T](kind: type[T], facts: Mapping[str, Any]) -> T:
    """The inverse of `encode`; unknown keys are ignored. Raises ValueError on anything else."""
    decoded: T = _adapter(kind).validate_python(facts)  # type: ignore[arg-type]  # classes are hashable
    return decoded


@cache
def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


class Kept:
    """A dataclass that is kept or sent as JSON."""

    __slots__ = ()

    def to_json(self) -> dict[str, Any]:
        facts: dict[str, Any] = encode(self)
        return facts

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`. Raises ValueError on anything else."""
        return decode(cls, facts)
