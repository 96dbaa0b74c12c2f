"""Runs a demo: arrange, start, show line by line, serve until Ctrl-C. Returns the exit code of `certedge demo`."""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

from certstore.files.clock import utc_now
from edge_addon.demo.arrangement import (
    MAIN_HOST,
    OWN,
    WITHOUT,
    Arrangement,
    NotOurFolder,
    arrange,
    bind_listeners,
    claim_folder,
)
from edge_addon.demo.checks import CHECKS, Check, Stage, Wrong, wait_until_served
from edge_addon.demo.process import EdgeFailed, EdgeProcess
from edge_addon.demo.stand_ins import StandIns

GREEN, RED, PLAIN = "\x1b[32m", "\x1b[31m", "\x1b[0m"


class Printer:
    """Lines for a person: ✔ and ✘, coloured on a terminal, in words where the output has no such characters."""

    def __init__(self, output: TextIO) -> None:
        self._output = output
        self._is_terminal = output.isatty()
        try:
            "✔✘".encode(output.encoding or "utf-8")
            self._marks = ("✔", "✘")
        except UnicodeEncodeError:
            self._marks = ("ok   ", "WRONG")

    def say(self, text: str = "") -> None:
        print(text, file=self._output, flush=True)

    def line(self, title: str, seen: str, *, is_right: bool) -> None:
        mark = self._marks[0 if is_right else 1]
        if self._is_terminal:
            mark = f"{GREEN if is_right else RED}{mark}{PLAIN}"
        self.say(f"{mark} {title}: {seen}")


def run_demo(
    folder: Path | None,
    *,
    once: bool,
    output: TextIO | None = None,
    disturb: Callable[[Arrangement], None] = lambda arrangement: None,
) -> int:
    """`certedge demo`: 0 when every line was right, 1 when one was wrong or the edge did not start.

    Without a folder one is made; it is removed again when `once` and all was right. `disturb` may change what was
    arranged before the edge starts: that is how tests see that lines can be wrong.
    """
    printer = Printer(output or sys.stdout)
    place = folder.absolute() if folder else Path(tempfile.mkdtemp(prefix="certedge-demo-"))
    # A service manager's or a script's SIGTERM ends the demo as Ctrl-C does, with its child processes; and a shell
    # that starts it in the background leaves SIGINT ignored.
    before = {number: signal.signal(number, signal.default_int_handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        claim_folder(place)
        wrong = _run(place, printer, disturb, once=once)
    except (NotOurFolder, EdgeFailed) as error:
        printer.say(str(error))
        return 1
    except KeyboardInterrupt:
        printer.say(f"\nInterrupted; what was made is in {place}")
        return 1
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if once and folder is None and not wrong:
        shutil.rmtree(place)
    return 1 if wrong else 0


def _run(place: Path, printer: Printer, disturb: Callable[[Arrangement], None], *, once: bool) -> int:
    printer.say(f"A demo in {place}: its own CA, edge.yaml, store and logs")
    with ExitStack() as stack:
        stand_ins = stack.enter_context(StandIns())
        listeners = bind_listeners()
        ports = {kind: listener.getsockname()[1] for kind, listener in listeners.items()}
        arrangement = arrange(
            place,
            ports,
            web=stand_ins.web_port,
            imap=stand_ins.imap_port,
            smtp=stand_ins.smtp_port,
            now=utc_now(),
        )
        disturb(arrangement)
        edge = stack.enter_context(EdgeProcess(arrangement.edge_yaml, listeners.values(), arrangement.log))
        for listener in listeners.values():
            listener.close()  # the edge has its own; ours would keep the ports open when it has ended
        edge.wait_until_ready(ports["health"])
        printer.say(
            "The edge runs: a supervisor, two workers and control, with web, IMAP and SMTP stand-ins behind it\n"
        )
        wrong = show(arrangement, printer, CHECKS)
        if not once:
            _tell_how_to_try(arrangement, printer, edge.console_link())
            _serve(edge)
            printer.say(f"\nStopping. {place} stays for you to look at; delete it when you are done.")
    return wrong


def show(arrangement: Arrangement, printer: Printer, checks: Sequence[tuple[str, Check]]) -> int:
    """Print one line for each check; returns how many were wrong."""
    stage = Stage(arrangement)
    wrong = 0
    try:
        wait_until_served(stage)
    except OSError:
        pass  # the lines below meet the same fault and name it
    for title, check in checks:
        try:
            seen, is_right = check(stage), True
        except (Wrong, OSError) as error:  # ssl.SSLError is an OSError
            seen, is_right = str(error) or type(error).__name__, False
        printer.line(title, seen, is_right=is_right)
        wrong += not is_right
    printer.say(
        f"\nAll {len(checks)} lines are right." if not wrong else f"\n{wrong} of {len(checks)} lines are WRONG."
    )
    return wrong


def _serve(edge: EdgeProcess) -> None:
    """Until Ctrl-C, or until the edge ends: with 0 after the terminal's Ctrl-C, which reaches it as well."""
    try:
        code = edge.wait()
    except KeyboardInterrupt:
        return
    if code:
        raise EdgeFailed(f"the edge ended by itself with {code}")


def _tell_how_to_try(arrangement: Arrangement, printer: Printer, console_link: str | None) -> None:
    ports, folder, root = arrangement.ports, arrangement.folder, arrangement.root_pem
    certedge = Path(sys.executable).with_name("certedge")
    drop_folder = arrangement.layout.drop_folder(WITHOUT)
    console = console_link or f"did not start: see {arrangement.log}"
    printer.say(f"""
Serving until Ctrl-C. Try it from another terminal:

  a page of a domain        curl --cacert {root} --resolve {OWN}:{ports["https"]}:127.0.0.1 https://{OWN}:{ports["https"]}/
  the main certificate      openssl s_client -connect 127.0.0.1:{ports["https"]} -servername {MAIN_HOST} -CAfile {root}
  IMAP after STARTTLS       openssl s_client -connect 127.0.0.1:{ports["imap"]} -starttls imap -CAfile {root}
  SMTP after STARTTLS       openssl s_client -connect 127.0.0.1:{ports["submission"]} -starttls smtp -CAfile {root}
  give a domain its own     cp {arrangement.spare} {drop_folder}/
  what is served, and why   {certedge} --config {folder}/edge.yaml explain {WITHOUT}
  all sites                 {certedge} --config {folder}/edge.yaml status
  the console, in a browser {console}
                            (works once; the browser warns, as it does not know this CA)
""")
