"""ETags of answers that are polled: a digest of the answer itself, so that a restart, other rights or another query
never match by mistake."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

from fastapi import Header
from pydantic import BaseModel
from starlette.responses import Response

IfNoneMatch = Annotated[str | None, Header(description="The ETag of an earlier answer: 304 while nothing has changed.")]
UNCHANGED: dict[int | str, dict[str, Any]] = {304: {"description": "Not changed since that answer"}}


def tagged(content: BaseModel, seen: str | None, **headers: str) -> Response:
    """The content, or 304 if the client has it already."""
    body = content.model_dump_json().encode()
    tag = hashlib.sha256(body).hexdigest()[:24]
    headers["ETag"] = f'W/"{tag}"'
    if seen is not None and (tag in seen or seen.strip() == "*"):
        return Response(status_code=304, headers=headers)
    return Response(body, 200, headers, "application/json")
