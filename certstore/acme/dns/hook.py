"""Writes into a zone by a program of the administrator's, which gets one record at a time in its environment.

    CERTEDGE_DNS_ACTION            add or remove
    CERTEDGE_DNS_NAME              the record's name, without a trailing dot
    CERTEDGE_DNS_VALUE             its value
    CERTEDGE_DNS_ZONE              the zone that it lies in
    CERTEDGE_DNS_CREDENTIALS_FILE  the path of `credentials_file`, where the settings have one

Exit status 0 means done. What it prints goes into the record of a failure, without credentials. Its word that the
record is there does not count: the zone's servers are asked.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from certstore.acme.dns.bounds import Bounds
from certstore.acme.dns.child_process import OUTPUT_LIMIT, Ended, run, usual_environment
from certstore.acme.dns.credentials import hide, read_credentials_text, secrets_in
from certstore.acme.dns.zone_writer import CannotWrite
from certstore.acme.dns.zones import Place
from certstore.model.settings.dns import ExecSettings
from certstore.model.text import shown

logger = logging.getLogger(__name__)

_SHOWN_LIMIT = 400
"""Characters of its output in a message."""
_LAST_WORDS = 512
"""Bytes at the end of an output that was cut off there, perhaps in a secret."""
_REMEDY = "Run the program by hand with the same environment, and see what it says."


@dataclass(frozen=True, slots=True)
class HookWriter:
    """`base` is the folder of edge.yaml."""

    settings: ExecSettings
    base: Path

    def add(self, place: Place, values: Sequence[str], bounds: Bounds) -> None:
        for value in values:
            self._run("add", place, value, bounds.within(self.settings.seconds))

    def remove(self, place: Place, values: Sequence[str], bounds: Bounds) -> None:
        for value in values:
            self._run("remove", place, value, bounds.within(self.settings.seconds))

    def _run(self, action: str, place: Place, value: str, bounds: Bounds) -> None:
        record = {"ACTION": action, "NAME": place.name, "VALUE": value, "ZONE": place.zone}
        environment = usual_environment() | {f"CERTEDGE_DNS_{key}": each for key, each in record.items()}
        secrets: frozenset[str] = frozenset()
        if self.settings.credentials_file is not None:
            path = self.base / self.settings.credentials_file
            secrets = secrets_in(read_credentials_text(path, "credentials_file"))
            environment["CERTEDGE_DNS_CREDENTIALS_FILE"] = str(path)
        program = self.settings.command[0]
        try:
            ended = run(self.settings.command, environment, bounds)
        except OSError as error:
            raise CannotWrite(
                f"{program} could not be started: {error.strerror}", remedy="Correct acme.dns.", needs_person=True
            ) from None
        said = _said(ended, secrets, (*record.values(), *self.settings.command))
        if ended.status != 0:
            raise CannotWrite(f"{program} ({action}) {_how_it_ended(ended, bounds)}{said}", remedy=_REMEDY)
        if said:
            logger.info("%s (%s %s)%s", program, action, place.name, said)


def _how_it_ended(ended: Ended, bounds: Bounds) -> str:
    if ended.status is None:
        return f"did not end within {bounds.budget.seconds:.0f} seconds and was stopped"
    return f"was ended by signal {-ended.status}" if ended.status < 0 else f"ended with status {ended.status}"


def _said(ended: Ended, secrets: frozenset[str], known: Sequence[str]) -> str:
    """The output as a part of a message: hidden first and cut after that, so that no half of a secret stays."""
    output = ended.output if len(ended.output) < OUTPUT_LIMIT else ended.output[:-_LAST_WORDS]
    text = " ".join(hide(output.decode("utf-8", "replace"), secrets, known).split())
    return f": {shown(text, _SHOWN_LIMIT)}" if text else ""
