"""Adds a section to the text of an edge.yaml, or takes one out, and leaves everything else as people wrote it.

Pure: text in, text out. The callers parse the result before they write it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from certstore.model.settings.yaml_lines import read_document


class NotEditable(ValueError):
    """The text is not in a form that can be changed by lines; the message says why."""


def section_text(name: str, facts: Mapping[str, Any]) -> str:
    """The lines of the section alone."""
    return yaml.safe_dump({name: dict(facts)}, sort_keys=False, allow_unicode=True, default_flow_style=False)


def with_section(text: str, name: str, facts: Mapping[str, Any]) -> str:
    """With the section at the end. Raises NotEditable where there is one already, or the text is not block style."""
    document = read_document(text)
    if document.faults or not isinstance(document.value, dict):
        raise NotEditable("it can't be read as keys with values")
    if name in document.value:
        raise NotEditable(f"it has a section `{name}:` already")
    if text.lstrip("\ufeff \n").startswith("{") or any(line.rstrip() == "..." for line in text.splitlines()):
        raise NotEditable("its last line does not end the document")
    return f"{text.rstrip()}\n\n{section_text(name, facts)}"


def without_section(text: str, name: str) -> str:
    """Without the section and its comments inside. Raises NotEditable where there is none."""
    lines = read_document(text).lines
    if (begin := lines.get((name,))) is None:
        raise NotEditable(f"it has no section `{name}:`")
    written = text.splitlines(keepends=True)
    if not written[begin - 1].startswith((name, f'"{name}"', f"'{name}'")):
        raise NotEditable(f"`{name}:` does not begin a line")
    following = [line for path, line in lines.items() if len(path) == 1 and line > begin]
    end = min(following, default=len(written) + 1)
    while end > begin + 1 and _belongs_to_the_next(written[end - 2]):
        end -= 1
    before = written[: begin - 1]
    if all(not line.strip() for line in written[end - 1 :]):
        return "".join(before).rstrip() + "\n"  # nor the blank line before it
    return "".join((*before, *written[end - 1 :]))


def _belongs_to_the_next(line: str) -> bool:
    return not line.strip() or line.startswith("#")
