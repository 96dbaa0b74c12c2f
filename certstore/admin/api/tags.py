"""ETags of what is asked for again and again: a digest of the answer itself, so that a restart, other rights or another
query are never mistaken for the same."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

from fastapi import Header
from pydantic import BaseModel
from starlette.responses import Response

IfNoneMatch = Annotated[
    str | None, Header(description="The ETag of an answer that you have: 304 while it is the same.")
]
UNCHANGED: dict[int | str, dict[str, Any]] = {304: {"description": "As it was when you asked last"}}


def tagged(content: BaseModel, seen: str | None, **headers: str) -> Response:
    """The content, or 304 for who has seen it."""
    body = content.model_dump_json().encode()
    tag = hashlib.sha256(body).hexdigest()[:24]
    headers["ETag"] = f'W/"{tag}"'
    if seen is not None and (tag in seen or seen.strip() == "*"):
        return Response(status_code=304, headers=headers)
    return Response(body, 200, headers, "application/json")
