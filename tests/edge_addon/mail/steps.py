"""Summarizes the steps of a dialogue: what went to whom, however the bytes were split."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable

from edge_addon.mail.dialogue import Action, Count, Ended, Ready, Step, ToClient, ToUpstream


def to_client(steps: Iterable[Step]) -> bytes:
    return b"".join(step.data for step in steps if isinstance(step, ToClient))


def to_upstream(steps: Iterable[Step]) -> bytes:
    return b"".join(step.data for step in steps if isinstance(step, ToUpstream))


def causes(steps: Iterable[Step]) -> list[str]:
    return [step.cause for step in steps if isinstance(step, (Count, Ended))]


def endings(steps: Iterable[Step]) -> list[Step]:
    return [step for step in steps if isinstance(step, (Action, Ended, Ready))]


def summary(steps: list[Step]) -> tuple[bytes, bytes, list[str], list[Step]]:
    return to_client(steps), to_upstream(steps), causes(steps), endings(steps)


def fed(feed: Callable[[bytes], list[Step]], pieces: Iterable[bytes]) -> list[Step]:
    return [step for piece in pieces for step in feed(piece)]


def split(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    """`data` in pieces; any integers can serve as cuts."""
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]
