"""Server-sent events: how a job goes on, and that something about the sites has changed.

Each message stands for itself, so a browser that comes back after a break needs no history. A comment line now and
then keeps proxies from closing a quiet stream.
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
"""Of quiet: after an hour the browser comes again, and shows its cookie again."""


def event_response(actions: Actions, actor: Actor, messages: AsyncGenerator[str]) -> StreamingResponse:
    """Raises VerbFailed (busy) where the actor, or all together, have too many open."""
    actions.streams.check(actor.who)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(
        actions.streams.counted(actor.who, messages), media_type="text/event-stream", headers=headers
    )


async def follow_job(job: Job, news: Broadcast) -> AsyncGenerator[str]:
    """`step` for every step, the earlier ones first; `end` with the whole job, after which the stream ends."""
    told = 0
    while not news.is_closed:
        is_over = job.is_over  # asked first: no step comes after the end
        while told < len(job.steps):
            at, text = job.steps[told]
            yield _message("step", {"at": at.isoformat(timespec="milliseconds"), "message": text})
            told += 1
        if is_over:
            yield _message("end", job.to_json())
            return
        await news.wait(QUIET_SECONDS)
        yield ": still at work\n\n"


async def follow_sites(index: SiteIndex, news: Broadcast) -> AsyncGenerator[str]:
    """`changed` with the generation, at once and whenever there is another one. Names no site: the listener looks."""
    told = -1
    for _ in range(LONGEST_ROUNDS):
        if news.is_closed:
            return
        generation = index.view().generation
        if generation != told:
            told = generation
            yield _message("changed", {"generation": generation})
        else:
            yield ": nothing new\n\n"
        await news.wait(QUIET_SECONDS)


def _message(event: str, facts: dict[str, Any]) -> str:
    return f"event: {event}\ndata: {json.dumps(facts)}\n\n"
