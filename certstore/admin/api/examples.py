"""Adds the examples of `examples.yaml`, one of every shape of the API, to its OpenAPI document."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

_EXAMPLES: dict[str, Any] = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))


def add_examples(document: dict[str, Any]) -> dict[str, Any]:
    schemas = document["components"]["schemas"]
    for name in schemas.keys() & _EXAMPLES.keys():
        schemas[name]["examples"] = [_EXAMPLES[name]]
    return document
