"""`records/SITE.json`: the last attempts of a site and its unsolved problems, for status, console, mail and log.

Written by the one writer, read by anybody. Losing a file loses history, never a certificate: an unreadable one counts
as empty. Knows nothing of what attempts and problems mean, except which attempts must outlive the rest.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from certstore.files.atomic import replace_file
from certstore.model.certificate.findings import Finding
from certstore.model.layout import Layout
from certstore.model.record import Outcome, Record

KEPT_ATTEMPTS = 50


@dataclass(frozen=True, slots=True)
class SiteRecords:
    """`attempts` are oldest first; `problems` are those that stand until somebody solves them."""

    attempts: tuple[Record, ...] = ()
    problems: tuple[Finding, ...] = ()

    @property
    def last_attempt(self) -> Record | None:
        return self.attempts[-1] if self.attempts else None

    def with_attempt(self, record: Record) -> SiteRecords:
        """The oldest attempts go, except the last two that made a version live: they tell what its predecessor is."""
        attempts = (*self.attempts, record)
        surplus = len(attempts) - KEPT_ATTEMPTS
        if surplus > 0:
            lasting = [each for each in attempts if _made_live(each)][-2:]
            attempts = (*(each for each in attempts[:surplus] if each in lasting), *attempts[surplus:])
        return SiteRecords(attempts, self.problems)

    @property
    def last_live(self) -> int | None:
        """The version that was made live last, as far as the records go back."""
        return next((each.version for each in reversed(self.attempts) if _made_live(each)), None)

    def predecessor_of(self, version: int) -> int | None:
        """The version that was live before `version` was."""
        served = [each.version for each in self.attempts if _made_live(each) and each.version != version]
        return served[-1] if served else None


def _made_live(record: Record) -> bool:
    return record.outcome is Outcome.DONE and record.version is not None


def read_records(layout: Layout, site: str) -> SiteRecords:
    """Never raises: a file that can't be read counts as no history."""
    try:
        facts = json.loads(layout.records(site).read_bytes())
        return SiteRecords(
            tuple(Record.from_json(each) for each in facts["attempts"]),
            tuple(Finding(code, message) for code, message in facts["problems"]),
        )
    except (OSError, KeyError, TypeError, ValueError, RecursionError):
        return SiteRecords()


def write_records(layout: Layout, site: str, records: SiteRecords) -> None:
    """One rename. Raises OSError."""
    facts = {
        "attempts": [record.to_json() for record in records.attempts],
        "problems": [[problem.code, problem.message] for problem in records.problems],
    }
    content = json.dumps(facts, indent=1).encode() + b"\n"
    # Not synced: a power cut may lose this site's history, but no drop has to wait for the disk.
    replace_file(layout.records(site), content, 0o600, layout.temporary, is_durable=False)


def same_findings(one: Sequence[Finding], other: Sequence[Finding]) -> bool:
    """Whether two lists hold the same problems, in any order."""
    return {(each.code, each.message) for each in one} == {(each.code, each.message) for each in other}
