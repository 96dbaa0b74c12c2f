"""How far the response of a stream has come."""

from __future__ import annotations

from enum import Enum, auto


class Stage(Enum):
    """A stream goes through these in order, but may be over at any time."""

    ASKED = auto()
    """Nothing has been answered, or only 1xx."""
    ANSWERED = auto()
    """The head has been sent; the body or the bytes of a tunnel follow."""
    ENDING = auto()
    """The whole response has been sent or queued."""
    OVER = auto()
    """The response was sent whole, or the stream was given up."""


ASKED, ANSWERED, ENDING, OVER = Stage  # used some ten times for each request: class attributes would cost 30 ns each
