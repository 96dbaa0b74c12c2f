"""How a command reports a failure: what was attempted, on what, what was found, what to do; and the exit codes.

Knows nothing about stores and sockets; what other parts raise becomes a `CommandFailed` in `run_app`.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable
from enum import IntEnum
from itertools import takewhile
from typing import Any

from certstore.control.protocol import Fault, RequestFailed


class Exit(IntEnum):
    DONE = 0
    FAILED = 1
    USAGE = 2
    PROBLEMS = 3


CLOSED_PIPE = 128 + signal.SIGPIPE
"""As a shell shows a program that writes to a reader that is gone."""


class CommandFailed(Exception):
    """`attempted` is an infinitive with its object ("install a certificate for X"); `found` may have several lines."""

    def __init__(self, attempted: str, found: str, remedy: str = "", exit_code: Exit = Exit.FAILED) -> None:
        super().__init__(found)
        self.attempted = attempted
        self.found = found
        self.remedy = remedy
        self.exit_code = exit_code

    @classmethod
    def from_request(cls, attempted: str, error: RequestFailed) -> CommandFailed:
        is_usage = error.fault is Fault.INVALID
        return cls(attempted, error.found, error.remedy, Exit.USAGE if is_usage else Exit.FAILED)


def show_failure(failure: CommandFailed) -> None:
    """On stderr. Nothing is wrapped, so that a log keeps whole lines."""
    is_plain = not sys.stderr.isatty() or "NO_COLOR" in os.environ
    bold, plain = ("", "") if is_plain else ("\x1b[1;31m", "\x1b[0m")
    lines = [f"{bold}certedge: could not {printable(failure.attempted)}{plain}"]
    lines += _indented("found: ", failure.found)
    if failure.remedy:
        lines += _indented("to do: ", failure.remedy)
    sys.stderr.write("\n".join(lines) + "\n")


def printable(text: str) -> str:
    """Without control characters: a name in a certificate or a file must not send commands to the terminal."""
    return text if text.isprintable() else "".join(each if each.isprintable() else "?" for each in text)


def _indented(label: str, text: str) -> list[str]:
    first, *others = map(printable, text.splitlines() or [""])
    return [f"  {label}{first}", *(" " * (2 + len(label)) + line for line in others)]


def run_app(app: Callable[..., Any]) -> int:
    """Run a typer app. It always ends in an exit code, and no foreseeable failure shows a traceback."""
    _make_output_safe()
    code = _run(app)
    return code if _flushed() else CLOSED_PIPE


def _run(app: Callable[..., Any]) -> int:
    try:
        app(prog_name="certedge")
    except CommandFailed as failure:
        show_failure(failure)
        return failure.exit_code
    except BrokenPipeError:
        return CLOSED_PIPE
    except OSError as error:
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        remedy = ""
        if isinstance(error, PermissionError):
            remedy = "run the command as root, or as the user that runs the service"
        show_failure(CommandFailed(f"run {' '.join(_words())}", what, remedy))
        return Exit.FAILED
    except SystemExit as done:
        if isinstance(done.__context__, BrokenPipeError):
            return CLOSED_PIPE  # the libraries that write make it an exit like any failure's
        return done.code if isinstance(done.code, int) else Exit.DONE if done.code is None else Exit.FAILED
    return Exit.DONE


def _flushed() -> bool:
    """Whether everything was written. What a reader that is gone did not take must not be tried again at exit, which
    would show a traceback."""
    is_whole = True
    for name in ("stdout", "stderr"):
        try:
            getattr(sys, name).flush()
        except BrokenPipeError:
            is_whole = False
            os.dup2(os.open(os.devnull, os.O_WRONLY), getattr(sys, name).fileno())
    return is_whole


def _make_output_safe() -> None:
    """A closed stream, or a locale that lacks one of our characters, must not end in a traceback."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115  open to the end
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _words() -> list[str]:
    """The words of the command, without options and their values, which could be long."""
    return ["certedge", *takewhile(lambda word: not word.startswith("-"), sys.argv[1:])]
