"""Reads requests and results from JSON values, as `certstore.model.json_facts` wrote them.

Knows no command. Every failure names the key that is wrong, and none quotes a value, which could be a key or a
password.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import datetime
from enum import StrEnum
from types import NoneType, UnionType
from typing import Any

from certstore.control.protocol import Fault, RequestFailed, unpack_bytes


def decode[T](kind: type[T], value: object, key: str = "it") -> T:
    """Unknown keys are ignored. Raises RequestFailed, which names the key that is wrong."""
    decoded: T = _decode(kind, value, key)
    return decoded


def _decode(kind: Any, value: object, key: str) -> Any:
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (UnionType, typing.Union):
        return _decode_one_of(inner, value, key)
    if origin is tuple and isinstance(value, list):
        return tuple(_decode(inner[0], each, key) for each in value)
    if origin is Mapping and isinstance(value, dict):
        return value
    if is_dataclass(kind) and isinstance(value, dict):
        return _decode_fields(kind, value)
    if kind is bytes and isinstance(value, str):
        return unpack_bytes(value)
    if kind in (str, int, bool, NoneType) and type(value) is kind:
        return value
    if isinstance(kind, type) and issubclass(kind, StrEnum | datetime) and isinstance(value, str):
        try:
            return kind.fromisoformat(value) if issubclass(kind, datetime) else kind(value)
        except ValueError:
            pass
    raise RequestFailed(Fault.BAD_REQUEST, f"`{key}` has to be {_words(kind)}")


def _decode_one_of(kinds: tuple[Any, ...], value: object, key: str) -> Any:
    for kind in kinds[:-1]:
        try:
            return _decode(kind, value, key)
        except RequestFailed:
            continue
    return _decode(kinds[-1], value, key)


def _decode_fields(kind: Any, values: Mapping[str, object]) -> Any:
    hints = typing.get_type_hints(kind)
    given = {}
    for each in fields(kind):
        if each.name in values:
            given[each.name] = _decode(hints[each.name], values[each.name], each.name)
        elif each.default is MISSING and each.default_factory is MISSING:
            raise RequestFailed(Fault.BAD_REQUEST, f"`{each.name}` is missing")
    return kind(**given)


def _words(kind: Any) -> str:
    if typing.get_origin(kind) is tuple:
        return "a list"
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return f"one of {', '.join(each.value for each in kind)}"
    names = {str: "text", int: "a number", bool: "true or false", bytes: "base64 text", NoneType: "null"}
    return names.get(kind, "an object")
