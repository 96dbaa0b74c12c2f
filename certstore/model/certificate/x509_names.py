"""Distinguished names as they are encoded in certificates: as text for people, and in a form for comparing.

RFC 5280 §7.1: names are compared without regard to case, to the kind of string and to the number of blanks, because
authorities write the same name in different ways. No encoding is refused: what can't be decoded is shown as it is.
"""

from __future__ import annotations

import re

from certstore.model.certificate.der import SEQUENCE, dotted, element, elements, object_identifier

_SHORT_NAMES = {
    object_identifier(number): name
    for number, name in (
        ("2.5.4.3", "CN"),
        ("2.5.4.6", "C"),
        ("2.5.4.7", "L"),
        ("2.5.4.8", "ST"),
        ("2.5.4.9", "STREET"),
        ("2.5.4.10", "O"),
        ("2.5.4.11", "OU"),
        ("0.9.2342.19200300.100.1.25", "DC"),
        ("0.9.2342.19200300.100.1.1", "UID"),
        ("1.2.840.113549.1.9.1", "emailAddress"),
    )
}
_ENCODINGS = {0x0C: "utf-8", 0x12: "ascii", 0x13: "ascii", 0x14: "latin-1", 0x16: "ascii", 0x1A: "ascii",
              0x1B: "latin-1", 0x1C: "utf-32-be", 0x1E: "utf-16-be"}  # fmt: skip
_SPECIAL = re.compile(r'(^[# ]|[,+"\\<>;]| $)')
_UNREADABLE = "(a name that can't be read)"

type _Attribute = tuple[bytes, int, bytes]
"""OID, tag and value."""


def name_text(name: bytes) -> str:
    """RFC 4514's form, the most specific part first; empty for an empty name."""
    try:
        relative = _relative_names(name)
    except ValueError:
        return _UNREADABLE
    return ",".join("+".join(map(_shown, each)) for each in reversed(relative))


def attribute_texts(name: bytes, dotted_type: str) -> list[str]:
    """The values of one type of attribute, such as the organisation (2.5.4.10)."""
    wanted = object_identifier(dotted_type)
    try:
        relative = _relative_names(name)
    except ValueError:
        return []
    return [_decoded(tag, value) for each in relative for kind, tag, value in each if kind == wanted]


def comparable(name: bytes) -> object:
    """Equal for names that mean the same. A name that can't be taken apart is compared by its bytes."""
    try:
        return tuple(
            frozenset((kind, " ".join(_decoded(tag, value).split()).lower() if tag in _ENCODINGS else (tag, value))
                      for kind, tag, value in each)
            for each in _relative_names(name)
        )  # fmt: skip
    except ValueError:
        return name


def _relative_names(name: bytes) -> list[list[_Attribute]]:
    tag, start, end = element(name, 0, len(name))
    if tag != SEQUENCE:
        raise ValueError("not a name")
    found = []
    for _, set_start, set_end in elements(name, start, end):
        attributes = []
        for _, pair_start, pair_end in elements(name, set_start, set_end):
            _, kind_start, kind_end = element(name, pair_start, pair_end)
            value_tag, value_start, value_end = element(name, kind_end, pair_end)
            attributes.append((name[kind_start:kind_end], value_tag, name[value_start:value_end]))
        found.append(attributes)
    return found


def _shown(attribute: _Attribute) -> str:
    kind, tag, value = attribute
    text = _SPECIAL.sub(r"\\\1", _decoded(tag, value)) if tag in _ENCODINGS else f"#{value.hex()}"
    return f"{_SHORT_NAMES.get(kind) or dotted(kind)}={text}"


def _decoded(tag: int, value: bytes) -> str:
    encoding = _ENCODINGS.get(tag)
    return f"#{value.hex()}" if encoding is None else value.decode(encoding, "replace")
