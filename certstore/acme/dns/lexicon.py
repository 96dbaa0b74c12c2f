"""Writes into zones of hosted DNS through dns-lexicon, in a process of its own.

The library is an extra: it is looked for when first needed. It asks providers without any time limit, and its errors
may show URLs with credentials, so it runs where it can be ended, and what it says is hidden before it is shown.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from certstore.acme.dns.bounds import Bounds
from certstore.acme.dns.child_process import Ended, run, usual_environment
from certstore.acme.dns.credentials import hide, read_credentials, read_credentials_text, secrets_in
from certstore.acme.dns.lexicon_child import Trouble
from certstore.acme.dns.zone_writer import CannotWrite
from certstore.acme.dns.zones import Place
from certstore.model.settings.dns import LexiconSettings
from certstore.model.text import shown

INSTALL = f'Install it into the service\'s environment: {sys.prefix}/bin/pip install "dns-lexicon>=3.21,<4"'
_SHOWN_LIMIT = 400
_ANSWER_LIMIT = 65_536


def find_fault(settings: LexiconSettings) -> tuple[str, str] | None:
    """What is wrong here without asking anybody, and what to do: the library or the provider is missing."""
    if importlib.util.find_spec("lexicon") is None:
        return "dns-lexicon is not installed", INSTALL
    folder = importlib.util.find_spec("lexicon._private.providers")
    places = folder.submodule_search_locations if folder is not None else None
    known = sorted({path.stem for place in places or () for path in Path(place).glob("*.py")} - {"__init__", "base"})
    if known and settings.provider not in known:
        return f"dns-lexicon knows no provider {settings.provider}", f"It knows: {', '.join(known)}"
    return None


@dataclass(frozen=True, slots=True)
class LexiconWriter:
    """`base` is the folder of edge.yaml."""

    settings: LexiconSettings
    base: Path

    def add(self, place: Place, values: Sequence[str], bounds: Bounds) -> None:
        self._run("add", place, values, bounds)

    def remove(self, place: Place, values: Sequence[str], bounds: Bounds) -> None:
        self._run("remove", place, values, bounds)

    def _run(self, action: str, place: Place, values: Sequence[str], bounds: Bounds) -> None:
        if (fault := find_fault(self.settings)) is not None:
            raise CannotWrite(fault[0], remedy=fault[1], needs_person=True)
        options: dict[str, Any] = dict(self.settings.options)
        secrets: frozenset[str] = frozenset()
        if self.settings.credentials_file is not None:
            path = self.base / self.settings.credentials_file
            secrets = secrets_in(read_credentials_text(path, "credentials_file"))
            options |= read_credentials(path)
        order = {
            "provider": self.settings.provider,
            "options": options,
            "zone": place.zone,
            "name": place.name,
            "values": list(values),
            "action": action,
        }
        command = [sys.executable, "-P", "-m", "certstore.acme.dns.lexicon_child"]
        try:
            ended = run(
                command,
                usual_environment(),
                bounds.within(self.settings.seconds),
                given=json.dumps(order).encode(),
                with_errors=False,
                limit=_ANSWER_LIMIT,
            )
        except OSError as error:
            raise CannotWrite(f"no process could be started for dns-lexicon: {error.strerror}") from None
        self._read(ended, secrets, (place.name, place.zone, *values))

    def _read(self, ended: Ended, secrets: frozenset[str], known: Sequence[str]) -> None:
        """Raises CannotWrite for everything but success."""
        provider = self.settings.provider
        if ended.status is None:
            raise CannotWrite(f"{provider} did not answer within {self.settings.seconds:g} seconds")
        try:
            answer: Mapping[str, str] = json.loads(ended.output)
            trouble = Trouble(answer["trouble"]) if "trouble" in answer else None
        except (ValueError, KeyError, TypeError):
            raise CannotWrite(f"dns-lexicon ended with status {ended.status} while it worked at {provider}") from None
        if trouble is None:
            return
        said = shown(" ".join(hide(answer.get("text", ""), secrets, known).split()), _SHOWN_LIMIT)
        words, remedy, needs_person = _TROUBLES[trouble]
        detail = f"{words.format(provider=provider)}: {said}" if said else words.format(provider=provider)
        raise CannotWrite(detail, remedy=remedy, needs_person=needs_person)


_TROUBLES = {
    Trouble.NOT_USABLE: (
        "dns-lexicon can't use the provider {provider}",
        "Install what the provider needs: pip install 'dns-lexicon[full]'",
        True,
    ),
    Trouble.CREDENTIALS: (
        "{provider} does not accept the credentials, or does not have the zone",
        "Check the provider's options in credentials_file, and that the account has the zone.",
        True,
    ),
    Trouble.OTHER: ("{provider} did not change the record", "", False),
}
