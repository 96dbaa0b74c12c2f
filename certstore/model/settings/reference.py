"""Every setting with its default, what is allowed and what it means, read from the models: the source of the annotated
file and of edge.yaml(5).

    [setting.key for setting in settings_of(Settings, descriptions.EDGE)]
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from certstore.model.settings import models
from certstore.model.settings.addresses import HostPort

_WIDTH = 118
_NUMBERS = {int: "a whole number", float: "a number"}
_WORDS = {bool: "true or false", Path: "a path", HostPort: "address:port", dict: "names and values"}


class Nature(StrEnum):
    """`GROUP` holds keys and is there by default; `BLOCK` holds keys and is absent by default; `ENTRIES` is a list of
    such blocks."""

    VALUE = "value"
    GROUP = "group"
    BLOCK = "block"
    ENTRIES = "entries"


@dataclass(frozen=True, slots=True)
class Setting:
    """`key` has all keys above it, with `[]` behind a list's; `default` is in YAML, empty where there is none."""

    key: str
    nature: Nature
    default: str
    allowed: str
    meaning: str
    is_required: bool

    @property
    def name(self) -> str:
        return self.key.rpartition(".")[2]

    @property
    def depth(self) -> int:
        return self.key.count(".")


def settings_of(model: type[BaseModel], meanings: Mapping[str, str], above: str = "") -> Iterator[Setting]:
    """In the order of the model, each group before its keys. Raises KeyError for a setting that nothing describes."""
    for name, field in model.model_fields.items():
        key = above + (field.alias or name)
        inner, nature = _inner(field)
        meaning = meanings.get(key) or _below_field(model, name)
        if not meaning:
            raise KeyError(f"{key} is described neither in descriptions.py nor below its field")
        yield Setting(key, nature, _default(model, name, field), _allowed(field), meaning, field.is_required())
        if inner is not None:
            yield from settings_of(inner, meanings, f"{key}{'[]' if nature is Nature.ENTRIES else ''}.")


def annotated_settings(edge: Mapping[str, str], site: Mapping[str, str]) -> str:
    """A whole edge.yaml with the defaults, which loads as if nothing were set, and a site.yaml as a comment."""
    lines = [
        "# Every setting of edge.yaml with its default. A key that is a comment has no default.",
        "# Made from the models by deploy/build-docs: change those.",
    ]
    for setting in settings_of(models.Settings, edge):
        lines += ["", *_lines(setting)] if not setting.depth else _lines(setting)
    lines += ["", "# Every setting of a site.yaml, in the folder of its site.", "#"]
    for setting in settings_of(models.SiteSettings, {**edge, **site}):
        if "[]" not in setting.key:
            value = f" {setting.default}" if setting.default else ""
            lines += [*_remark(setting, "# "), f"#   {setting.name}:{value}"]
    return "\n".join(lines) + "\n"


def _lines(setting: Setting) -> list[str]:
    indent, remark = "  " * setting.depth, _remark(setting, "  " * setting.depth + "# ")
    value = f" {setting.default}" if setting.default else ""
    if "[]." in setting.key:
        mark = "- " if setting.name in ("url", "kind") else "  "
        return [*remark, f"{indent}# {mark}{setting.name}:{value}"]
    is_set = setting.nature is Nature.GROUP or (bool(setting.default) and not _is_in_block(setting.key))
    return [*remark, f"{indent}{'' if is_set else '# '}{setting.name}:{value}"]


def _remark(setting: Setting, indent: str) -> list[str]:
    allowed = f" ({setting.allowed})" if setting.allowed else ""
    return textwrap.wrap(setting.meaning + allowed, _WIDTH, initial_indent=indent, subsequent_indent=indent)


def _is_in_block(key: str) -> bool:
    above = key.rpartition(".")[0]
    return any(each.key == above and each.nature is Nature.BLOCK for each in _edge_settings())


@cache
def _edge_settings() -> tuple[Setting, ...]:
    return tuple(settings_of(models.Settings, _Anything()))


class _Anything(dict[str, str]):
    def get(self, key: str, default: Any = None) -> str:
        return key


def _default(model: type[BaseModel], name: str, field: FieldInfo) -> str:
    """In one line of YAML, which JSON is."""
    default = field.get_default(call_default_factory=True)
    if default is PydanticUndefined or default is None or isinstance(default, BaseModel):
        return ""
    if isinstance(default, HostPort):
        return json.dumps(str(default))
    built = model.model_construct(**{name: default}).model_dump(mode="json", include={name}, exclude_unset=False)[name]
    if isinstance(built, list) and len(built) == 1 and isinstance(built[0], dict):
        built = next(iter(built[0].values()))  # the short form of a single server
    text = json.dumps(int(built) if isinstance(built, float) and built.is_integer() else built)
    is_plain = isinstance(built, str) and built.replace("-", "").replace("_", "").isalnum() and not built[0].isdigit()
    return built if is_plain else text


def _inner(field: FieldInfo) -> tuple[type[BaseModel] | None, Nature]:
    kinds = list(_kinds(field.annotation))
    inner = next((each for each in kinds if isinstance(each, type) and issubclass(each, BaseModel)), None)
    if inner is None or dict in kinds:  # the keys of a mapping to blocks are the user's
        return None, Nature.VALUE
    if tuple in kinds:
        return inner, Nature.ENTRIES
    return inner, Nature.GROUP if isinstance(field.get_default(call_default_factory=True), BaseModel) else Nature.BLOCK


def _kinds(annotation: Any) -> Iterator[Any]:
    """The annotation and everything in it, unwrapped."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _kinds(get_args(annotation)[0])
    elif origin in (Union, UnionType):
        for each in get_args(annotation):
            yield from _kinds(each)
    elif origin is Literal:
        yield annotation
    elif origin is not None:
        yield origin
        for each in get_args(annotation):
            yield from _kinds(each)
    elif annotation not in (type(None), Ellipsis):
        yield annotation


def _allowed(field: FieldInfo) -> str:
    words: list[str] = []
    kinds = list(_kinds(field.annotation))
    if any(isinstance(each, type) and issubclass(each, BaseModel) for each in kinds):
        return ""
    for each in kinds:
        if get_origin(each) is Literal:
            words += [str(value) for value in get_args(each)]
        elif isinstance(each, type) and issubclass(each, Enum):
            words += [str(value.value) for value in each]
        elif each in _NUMBERS:
            words.append(_NUMBERS[each] + _range(field))
        elif each in _WORDS:
            words.append(_WORDS[each])
    if dict in kinds:
        return _WORDS[dict]
    words = list(dict.fromkeys(words))
    listed = ", ".join(words[:-1]) + (" or " if len(words) > 1 else "") + words[-1] if words else ""
    return "a list" if tuple in kinds else listed


def _range(field: FieldInfo) -> str:
    parts = []
    for rule in field.metadata:
        match rule:
            case Ge(ge=least):
                parts.append(f"from {least}")
            case Gt(gt=least):
                parts.append(f"above {least}")
            case Le(le=most):
                parts.append(f"up to {most}")
    return f" {' '.join(parts)}" if parts else ""


def _below_field(model: type[BaseModel], name: str) -> str:
    return _field_texts(model.__module__).get((model.__name__, name), "")


@cache
def _field_texts(module: str) -> Mapping[tuple[str, str], str]:
    """The texts below the fields of the classes of a module, by class and field."""
    source = inspect.getsource(importlib.import_module(module))
    found = {}
    for made in ast.parse(source).body:
        if isinstance(made, ast.ClassDef):
            for field, text in zip(made.body, made.body[1:], strict=False):
                if (
                    isinstance(field, ast.AnnAssign)
                    and isinstance(field.target, ast.Name)
                    and isinstance(text, ast.Expr)
                    and isinstance(text.value, ast.Constant)
                ):
                    found[made.name, field.target.id] = " ".join(str(text.value.value).split())
    return found
