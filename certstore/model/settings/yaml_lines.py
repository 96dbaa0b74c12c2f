"""One YAML document as plain values, with the line of every key: strict, so that nothing in it is silently ignored.

Duplicate keys, a second document, keys that are not text and values that refer to themselves are faults. Knows nothing
of what the keys mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.constructor import SafeConstructor

# The C parser is about ten times faster, which matters with thousands of sites; wheels have it, some builds do not.
_LOADER: type[yaml.SafeLoader | yaml.CSafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_PLAIN_TAGS = {"tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"}
_MERGE_TAG = "tag:yaml.org,2002:merge"
# Aliases may repeat a part: without a limit, a few lines of aliases to aliases would make millions of values.
_VALUES_LIMIT = 100_000
_DEPTH_LIMIT = 20
_TOO_DEEP = f"it is nested more than {_DEPTH_LIMIT} levels deep, or refers to itself"
_OPENERS = "[{-?:"

YamlPath = tuple[str | int, ...]
"""Keys and list positions from the top."""


@dataclass(frozen=True, slots=True)
class YamlFault:
    """One thing that is wrong with the text itself; `path` is empty where no key is at fault.

    `is_value_lost`: the document holds None at `path`, because the value could not be read.
    """

    line: int | None
    path: YamlPath
    found: str
    is_value_lost: bool = False


@dataclass(frozen=True, slots=True)
class YamlDocument:
    """`value` is made of dict, list and scalars; `lines` gives the line (from 1) of every path in it."""

    value: Any = field(repr=False)
    lines: Mapping[YamlPath, int] = field(repr=False)
    faults: tuple[YamlFault, ...]


def read_document(text: str) -> YamlDocument:
    """Never raises: text that can't be read results in faults and the value None."""
    text = text.removeprefix("\ufeff")
    try:
        _check_depth(text)
        node = yaml.compose(text, Loader=_LOADER)
    except _TooMuch as error:
        return YamlDocument(None, {}, (YamlFault(error.line, (), str(error)),))
    except yaml.MarkedYAMLError as error:
        return YamlDocument(None, {}, (_marked_fault(error, text),))
    except (yaml.YAMLError, UnicodeError, RecursionError) as error:
        return YamlDocument(None, {}, (YamlFault(None, (), _unreadable(error)),))
    if node is None:
        return YamlDocument(None, {}, ())
    builder = _Builder()
    try:
        value = builder.build(node, ())
    except _TooMuch as error:
        return YamlDocument(None, {}, (YamlFault(error.line, (), str(error)),))
    return YamlDocument(value, builder.lines, tuple(builder.faults))


def _check_depth(text: str) -> None:
    """The C parser composes nested values by recursion without a limit: enough brackets would end the process.

    Its events come without recursion. Most texts have too few characters that can open a level to need this.
    """
    if sum(map(text.count, _OPENERS)) <= _DEPTH_LIMIT:
        return
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _DEPTH_LIMIT:
            raise _TooMuch(event.start_mark.line + 1 if event.start_mark else 1, _TOO_DEEP)


def _marked_fault(error: yaml.MarkedYAMLError, text: str) -> YamlFault:
    mark = error.problem_mark or error.context_mark
    problem = error.problem or error.context or "it is not YAML"
    line = text.splitlines()[mark.line :][:1] if mark else []
    if "but found another document" in problem:
        problem = "a second document begins here (---), but only one is allowed"
    elif "tab" in problem or (line and line[0].lstrip(" ").startswith("\t")):
        problem = "there is a tab where YAML requires spaces"
    elif error.context and error.context_mark and error.context is not problem:
        problem = f"{problem} ({error.context} from line {error.context_mark.line + 1})"
    return YamlFault(mark.line + 1 if mark else None, (), problem)


def _unreadable(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return _TOO_DEEP
    if isinstance(error, yaml.reader.ReaderError):
        return f"there is a character that YAML does not allow ({error.reason})"
    return "it is not text in a form that YAML allows"


class _TooMuch(Exception):
    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


class _Builder:
    """Walks the nodes once and keeps lines and faults beside the values."""

    def __init__(self) -> None:
        self.lines: dict[YamlPath, int] = {}
        self.faults: list[YamlFault] = []
        self._constructor = SafeConstructor()
        self._values = 0

    def build(self, node: yaml.Node, path: YamlPath) -> Any:
        line = node.start_mark.line + 1
        self._values += 1
        if self._values > _VALUES_LIMIT:
            raise _TooMuch(line, f"there are more than {_VALUES_LIMIT} values")
        if len(path) > _DEPTH_LIMIT:
            raise _TooMuch(line, _TOO_DEEP)
        self.lines.setdefault(path, line)
        if not isinstance(node, yaml.ScalarNode) and node.tag not in _PLAIN_TAGS:
            self._fault(line, path, f"the tag {node.tag} is not supported")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: YamlPath) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if key_node.tag == _MERGE_TAG:
                self._fault(line, path, "<< (merge) is not supported; write the keys out")
                continue
            # A key is taken as it is written: in YAML 1.1 `on` and `no` would otherwise be truth values.
            key = key_node.value
            if not isinstance(key_node, yaml.ScalarNode) or not isinstance(key, str):
                self._fault(line, path, "a key must be plain text")
                continue
            if key in values:
                first = self.lines[*path, key]
                self._fault(line, (*path, key), f"this key is there twice (the first is in line {first})")
                continue
            self.lines[*path, key] = line
            values[key] = self.build(value_node, (*path, key))
        return values

    def _scalar(self, node: yaml.Node, path: YamlPath) -> Any:
        try:
            value = self._constructor.construct_object(node)
            if isinstance(value, str) and "\0" in value:
                raise ValueError  # an escape can express it, and the system would refuse it later in a path or name
            return value
        except (yaml.YAMLError, ValueError, OverflowError) as error:
            problem = error.problem if isinstance(error, yaml.MarkedYAMLError) else None
            line = node.start_mark.line + 1
            self.faults.append(YamlFault(line, path, problem or "the value can't be read", is_value_lost=True))
            return None

    def _fault(self, line: int, path: YamlPath, found: str) -> None:
        self.faults.append(YamlFault(line, path, found))
