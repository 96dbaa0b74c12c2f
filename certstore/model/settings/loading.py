"""Turns the text of edge.yaml and site.yaml into their models, or reports what is wrong: file, line, key, value, and
what is allowed.

All faults of a file are reported together. A value is shown only under a known key: a misspelt one might hold a
password. Opens no file: the text and the file's name come in.
"""

from __future__ import annotations

import difflib
import functools
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from certstore.model.settings.models import Settings, SiteSettings
from certstore.model.settings.yaml_lines import YamlDocument, YamlFault, YamlPath, read_document
from certstore.model.text import shown

_VALUE_LIMIT = 80
_EXPECTED = "expected "


@dataclass(frozen=True, slots=True)
class SettingsFault:
    """One fault. `key` is written like `listeners[0].kind`, `value` as Python shows it; None where it is not shown."""

    file: str
    line: int | None
    key: str | None
    value: str | None
    allowed: str | None
    found: str

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        what = f"{where}: {self.key}: {self.found}" if self.key else f"{where}: {self.found}"
        return f"{what}; allowed: {self.allowed}" if self.allowed else what


class SettingsError(ValueError):
    """The file can't be used. There is at least one of the `faults`."""

    def __init__(self, faults: tuple[SettingsFault, ...]) -> None:
        super().__init__("\n".join(map(str, faults)))
        self.faults = faults


def parse_settings(text: str, source: str) -> Settings:
    """The model of an edge.yaml; `source` is the file's name for messages. Raises SettingsError."""
    return _parse(Settings, text, source)


def parse_site(text: str, source: str) -> SiteSettings:
    """The model of a site.yaml; raises SettingsError."""
    return _parse(SiteSettings, text, source)


def _parse[T: BaseModel](model: type[T], text: str, source: str) -> T:
    document = read_document(text)
    faults = [_yaml_fault(each, source) for each in document.faults]
    value = {} if document.value is None else document.value
    parsed: T | None = None
    if not isinstance(value, dict):
        allowed = f"keys with values, such as {', '.join(list(_fields(model))[:3])}"
        faults.append(
            SettingsFault(source, 1, None, None, allowed, f"found {_kind(value)} instead of keys with values")
        )
    elif document.value is not None or not faults:
        try:
            parsed = model.model_validate(value)
        except ValidationError as error:
            faults += _model_faults(error, model, document, source)
    if faults or parsed is None:
        raise SettingsError(tuple(sorted(faults, key=lambda fault: fault.line or 0)))
    return parsed


def _yaml_fault(fault: YamlFault, source: str) -> SettingsFault:
    return SettingsFault(source, fault.line, _written(fault.path) or None, None, None, fault.found)


def _model_faults(
    error: ValidationError, model: type[BaseModel], document: YamlDocument, source: str
) -> Iterator[SettingsFault]:
    """One fault per place: each branch of a union reports one, and together they say what is allowed."""
    places: dict[YamlPath, list[Mapping[str, Any]]] = {}
    for each in error.errors(include_url=False):
        places.setdefault(_path_in_text(each, document.lines), []).append(each)
    unread = {fault.path for fault in document.faults if fault.is_value_lost}
    for path, reports in places.items():
        if path in unread:
            continue
        line = next((document.lines[path[:end]] for end in range(len(path), -1, -1) if path[:end] in document.lines), 1)
        report = reports[0]
        if report["type"] == "extra_forbidden":
            known = _known_keys(model, path[:-1])
            yield SettingsFault(source, line, _written(path), None, ", ".join(known), _unknown(str(path[-1]), known))
        elif report["type"] == "missing":
            yield SettingsFault(source, line, _written(path), None, None, "this key is required")
        else:
            yield _value_fault(reports, source, line, _written(path) or None)


def _value_fault(reports: list[Mapping[str, Any]], source: str, line: int, key: str | None) -> SettingsFault:
    value = reports[0]["input"]
    # Where the parts of a value are right but do not go together, repeating them all would bury what is wrong.
    text = None if isinstance(value, dict | list | BaseModel) else shown(repr(value))[:_VALUE_LIMIT]
    found = "no value is given" if value is None else f"found {text or _kind(value)}"
    sentences = [message for message in map(_own_message, reports) if not message.startswith(_EXPECTED)]
    if any(sentences):
        return SettingsFault(source, line, key, text, None, "; ".join(dict.fromkeys(filter(None, sentences))))
    allowed = " or ".join(dict.fromkeys(map(_allowed, reports)))
    if not isinstance(value, str) and value is not None and "'" in allowed:
        allowed += " (in quotes)"
    return SettingsFault(source, line, key, text, allowed, found)


def _own_message(report: Mapping[str, Any]) -> str:
    """The message of a validator of ours; one that begins with "expected" says only what is allowed."""
    return str(report["ctx"]["error"]) if report["type"] == "value_error" else ""


def _path_in_text(report: Mapping[str, Any], lines: Mapping[YamlPath, int]) -> YamlPath:
    """The model's path without the steps that the text does not have: branches of a union, a list around one item."""
    path: YamlPath = ()
    for step in report["loc"]:
        if (*path, step) in lines:
            path = (*path, step)
    if report["type"] == "missing":
        path = (*path, report["loc"][-1])
    return path


_KINDS_ALLOWED = {
    "a whole number": ("int_parsing", "int_type", "int_from_float"),
    "a number": ("float_parsing", "float_type", "finite_number"),
    "true or false": ("bool_parsing", "bool_type"),
    "text": ("string_type",),
    "a path": ("path_type",),
    "a list": ("tuple_type", "list_type"),
    "keys with values": ("model_type", "model_attributes_type", "dict_type"),
    "an address or a network, such as 10.0.0.0/8 or 2001:db8::/32": ("ip_v4_network", "ip_v6_network"),
    "at least one": ("too_short",),
}
_ALLOWED = {kind: words for words, kinds in _KINDS_ALLOWED.items() for kind in kinds}
_BOUNDS = {
    "greater_than_equal": ("ge", "at least"),
    "greater_than": ("gt", "more than"),
    "less_than_equal": ("le", "at most"),
    "less_than": ("lt", "less than"),
}


def _allowed(report: Mapping[str, Any]) -> str:
    """What would be right, in words."""
    kind, context = report["type"], report.get("ctx", {})
    if kind in _ALLOWED:
        return _ALLOWED[kind]
    if kind in _BOUNDS:
        bound, words = _BOUNDS[kind]
        return f"{words} {context[bound]}"
    if kind in {"literal_error", "enum"}:
        return str(context["expected"])
    if kind == "value_error":
        return str(context["error"]).removeprefix(_EXPECTED)
    return str(report["msg"])


def _unknown(key: str, known: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    return f"unknown key; did you mean {close[0]}?" if close else "unknown key"


def _known_keys(model: type[BaseModel], path: YamlPath) -> tuple[str, ...]:
    """The keys that may stand at a path of the text."""
    models: tuple[type[BaseModel], ...] = (model,)
    for step in path:
        if isinstance(step, str):
            models = tuple(found for each in models for found in _fields(each).get(step, ()))
    return tuple(dict.fromkeys(key for each in models for key in _fields(each)))


@functools.cache
def _fields(model: type[BaseModel]) -> dict[str, tuple[type[BaseModel], ...]]:
    """Every key as it is written in the file, with the models that may stand below it."""
    return {field.alias or name: tuple(_models_in(field.annotation)) for name, field in model.model_fields.items()}


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in typing.get_args(annotation):
        yield from _models_in(part)


def _written(path: YamlPath) -> str:
    """`listeners[0].kind`"""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{shown(step)}" for step in path)
    return text.removeprefix(".")


def _kind(value: object) -> str:
    if isinstance(value, dict):
        return "keys with values"
    return "a list" if isinstance(value, list) else "a single value"
