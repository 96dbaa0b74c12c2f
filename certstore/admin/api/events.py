"""Server-sent events: the progress of a job, and that something about the sites has changed.

Each message stands alone, so a browser that reconnects needs no history. A comment line now and then keeps proxies from
closing a quiet stream.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any

from starlette.responses import StreamingResponse

from certstore.admin.actions.action import Actions, Actor
from certstore.admin.live.broadcast import Broadcast
from certstore.admin.live.jobs import Job
from certstore.admin.live.site_index import SiteIndex

QUIET_SECONDS = 15.0
LONGEST_ROUNDS = 240
"""Rounds of QUIET_SECONDS: after an hour the browser reconnects and sends its cookie again."""


def event_response(actions: Actions, actor: Actor, messages: AsyncGenerator[str]) -> StreamingResponse:
    """Raises RequestFailed (busy) if the actor, or all actors together, have too many streams open."""
    actions.streams.check(actor.who)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(
        actions.streams.counted(actor.who, messages), media_type="text/event-stream", headers=headers
    )


async def follow_job(job: Job, news: Broadcast) -> AsyncGenerator[str]:
    """`step` for every step, from the first; then `end` with the whole job, and the stream ends."""
    sent = 0
    while not news.is_closed:
        is_over = job.is_over  # read first: no step comes after the end
        while sent < len(job.steps):
            at, text = job.steps[sent]
            yield _message("step", {"at": at.isoformat(timespec="milliseconds"), "message": text})
            sent += 1
        if is_over:
            yield _message("end", job.to_json())
            return
        await news.wait(QUIET_SECONDS)
        yield ": still running\n\n"


async def follow_sites(index: SiteIndex, news: Broadcast) -> AsyncGenerator[str]:
    """`changed` with the generation, now and after every change. It names no site: the listener fetches what it may."""
    sent = -1
    for _ in range(LONGEST_ROUNDS):
        if news.is_closed:
            return
        generation = index.view().generation
        if generation != sent:
            sent = generation
            yield _message("changed", {"generation": generation})
        else:
            yield ": nothing new\n\n"
        await news.wait(QUIET_SECONDS)


def _message(event: str, facts: dict[str, Any]) -> str:
    return f"event: {event}\ndata: {json.dumps(facts)}\n\n"
