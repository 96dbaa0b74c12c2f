"""Runs a demo: arranges it, starts the edge, prints the checks, serves until Ctrl-C."""

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
from certstore.verify.probe import ProbeFailed
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
from edge_addon.demo.stand_ins import stand_ins

GREEN, RED, PLAIN = "\x1b[32m", "\x1b[31m", "\x1b[0m"


class Printer:
    """Prints ✔ and ✘, coloured on a terminal, or words if the output's encoding lacks these characters."""

    def __init__(self, output: TextIO) -> None:
        self._output = output
        self._is_terminal = output.isatty()
        try:
            "✔✘".encode(output.encoding or "utf-8")
            self._marks = ("✔", "✘")
        except UnicodeEncodeError:
            self._marks = ("ok    ", "FAILED")

    def say(self, text: str = "") -> None:
        print(text, file=self._output, flush=True)

    def line(self, title: str, seen: str, *, has_passed: bool) -> None:
        mark = self._marks[0 if has_passed else 1]
        if self._is_terminal:
            mark = f"{GREEN if has_passed else RED}{mark}{PLAIN}"
        self.say(f"{mark} {title}: {seen}")


def run_demo(
    folder: Path | None,
    *,
    once: bool,
    output: TextIO | None = None,
    disturb: Callable[[Arrangement], None] = lambda arrangement: None,
    run: Callable[[Path, Printer], int] | None = None,
) -> int:
    """Run `certedge demo` and return its exit code: 0 if every check passed, 1 if one failed or the edge did not start.

    Creates a folder if none is given, and removes it if `once` is set and every check passed. `disturb` may change the
    arrangement before the edge starts: this is how tests make checks fail. `run` is another demo to run in the folder;
    it returns how many checks failed.
    """
    printer = Printer(output or sys.stdout)
    place = folder.absolute() if folder else Path(tempfile.mkdtemp(prefix="certedge-demo-"))
    # SIGTERM from a service manager or a script ends the demo and its child processes, as Ctrl-C does. SIGINT has to
    # be set too, because a shell that starts the demo in the background leaves it ignored.
    before = {number: signal.signal(number, signal.default_int_handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        claim_folder(place)
        failed = run(place, printer) if run is not None else _run(place, printer, disturb, once=once)
    except (NotOurFolder, EdgeFailed) as error:
        printer.say(str(error))
        return 1
    except KeyboardInterrupt:
        printer.say(f"\nInterrupted. The demo's files are in {place}")
        return 1
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if once and folder is None and not failed:
        shutil.rmtree(place)
    return 1 if failed else 0


def _run(place: Path, printer: Printer, disturb: Callable[[Arrangement], None], *, once: bool) -> int:
    printer.say(f"Creating a demo in {place}: a CA, edge.yaml, a store and logs.")
    with ExitStack() as stack:
        behind = stack.enter_context(stand_ins())
        listeners = bind_listeners()
        ports = {kind: listener.getsockname()[1] for kind, listener in listeners.items()}
        arrangement = arrange(place, ports, **behind._asdict(), now=utc_now())
        disturb(arrangement)
        edge = stack.enter_context(EdgeProcess(arrangement.edge_yaml, listeners.values(), arrangement.log))
        for listener in listeners.values():
            listener.close()  # the edge has its own copy; this one would keep the port open after the edge ends
        edge.wait_until_ready(ports["health"])
        printer.say(
            "The edge is running: a supervisor, two workers and a control process.\n"
            "Small web, IMAP and SMTP servers are running behind it.\n"
        )
        failed = show(arrangement, printer, CHECKS)
        if not once:
            _tell_how_to_try(arrangement, printer, edge.console_link())
            _serve(edge)
            printer.say(f"\nStopping. The demo's files stay in {place}; delete the folder when you no longer need it.")
    return failed


def show(arrangement: Arrangement, printer: Printer, checks: Sequence[tuple[str, Check]]) -> int:
    """Print one line for each check, and return how many failed."""
    stage = Stage(arrangement)
    failed = 0
    try:
        wait_until_served(stage)
    except OSError:
        pass  # the checks below run into the same fault and report it
    for title, check in checks:
        try:
            seen, has_passed = check(stage), True
        except (Wrong, ProbeFailed, OSError) as error:  # ssl.SSLError is an OSError
            seen, has_passed = str(error) or type(error).__name__, False
        printer.line(title, seen, has_passed=has_passed)
        failed += not has_passed
    printer.say(f"\nAll {len(checks)} checks passed." if not failed else f"\n{failed} of {len(checks)} checks FAILED.")
    return failed


def _serve(edge: EdgeProcess) -> None:
    """Wait for Ctrl-C or the end of the edge, which is 0 after a Ctrl-C in the terminal, since that reaches it too."""
    try:
        code = edge.wait()
    except KeyboardInterrupt:
        return
    if code:
        raise EdgeFailed(f"the edge ended by itself with exit code {code}")


def _tell_how_to_try(arrangement: Arrangement, printer: Printer, console_link: str | None) -> None:
    ports, folder, root = arrangement.ports, arrangement.folder, arrangement.root_pem
    certedge = Path(sys.executable).with_name("certedge")
    drop_folder = arrangement.layout.drop_folder(WITHOUT)
    console = console_link or f"did not start; see {arrangement.log}"
    printer.say(f"""
Serving until you press Ctrl-C. Try it from another terminal:

  get a page of a domain    curl --cacert {root} --resolve {OWN}:{ports["https"]}:127.0.0.1 https://{OWN}:{ports["https"]}/
  see the main certificate  openssl s_client -connect 127.0.0.1:{ports["https"]} -servername {MAIN_HOST} -CAfile {root}
  IMAP with STARTTLS        openssl s_client -connect 127.0.0.1:{ports["imap"]} -starttls imap -CAfile {root}
  SMTP with STARTTLS        openssl s_client -connect 127.0.0.1:{ports["submission"]} -starttls smtp -CAfile {root}
  drop a certificate        cp {arrangement.spare} {drop_folder}/
  see which one is served   {certedge} --config {folder}/edge.yaml explain {WITHOUT}
  list all sites            {certedge} --config {folder}/edge.yaml status
  open the console          {console}
                            (works once; your browser warns because it does not know the certificate)
""")
