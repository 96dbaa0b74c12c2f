"""The service behind a store, as `certedge status` shows it: whether it runs, with which settings, what is wrong."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from certstore.cli.context import Edge, chosen_config, open_edge
from certstore.cli.failure import CommandFailed
from certstore.cli.lazy import models, service_problems, service_report, service_state
from certstore.cli.output import BAD, WARNING, Cell, utc
from certstore.files.clock import utc_now
from certstore.model.text import written_text

if TYPE_CHECKING:
    from certstore.model.certificate.findings import Finding
    from certstore.model.service_state import ServiceState

APPLY = "certedge reload applies it"


@dataclass(frozen=True, slots=True)
class Service:
    """`state` is None if no service runs, or if this user may not know. `fault` is what is wrong with edge.yaml."""

    state: ServiceState | None
    problems: tuple[Finding, ...]
    fault: str | None
    has_changed: bool

    @property
    def is_troubled(self) -> bool:
        return bool(self.problems) or self.fault is not None

    def to_json(self) -> dict[str, Any]:
        state = self.state
        settings = "broken" if self.fault is not None else "changed" if self.has_changed else "applied"
        return {
            "pid": state.pid if state is not None else None,
            "installation": state.installation if state is not None else None,
            "config": state.config if state is not None else None,
            "applied_at": state.applied_at.isoformat() if state is not None else None,
            "settings": settings if state is not None or self.fault is not None else None,
            "fault": self.fault,
            "problems": [each.to_json() for each in self.problems],
        }

    def lines(self) -> list[Cell]:
        lines = []
        if self.fault is not None:
            lines.append(Cell(f"edge.yaml can't be used: {self.fault}", BAD))
            if self.state is not None:
                lines.append(Cell(f"the service runs with the settings of {utc(self.state.applied_at)}", WARNING))
        elif self.has_changed and self.state is not None:
            since = f"after the service read it at {utc(self.state.applied_at)}"
            lines.append(Cell(f"{self.state.config} was changed {since}: {APPLY}", WARNING))
        if self.state is not None and self.state.installation not in {"", service_report.installation()}:
            lines.append(
                Cell(f"the service runs {self.state.installation}; another release is installed: {APPLY}", WARNING)
            )
        return lines + [Cell(f"service: {each.message}", BAD) for each in self.problems]


def open_running_edge(config: Path | None) -> tuple[Edge, str | None]:
    """As `open_edge`; an edge.yaml with faults opens too, with what is wrong, if the store that it names was in use."""
    try:
        return open_edge(config), None
    except CommandFailed as failure:
        path = chosen_config(config)
        try:
            store = service_state.store_named_in(written_text(path.read_bytes()))
        except (OSError, UnicodeDecodeError):
            raise failure from None
        edge = Edge(path, models.Settings(store=Path(store)))
        if not os.path.exists(edge.layout.snapshot_journal):  # noqa: PTH110  never raises, whoever asks
            raise
        return edge, failure.args[0]


def service_of(edge: Edge, fault: str | None) -> Service:
    """Whoever may not read the store's state sees no problem of the service."""
    try:
        state = service_report.read_report(edge.layout)
        problems = service_problems.current_service_problems(edge.layout, utc_now())
    except OSError:
        return Service(None, (), fault, has_changed=False)
    has_changed = (
        fault is None and state is not None and state.settings != service_report.settings_digest(edge.settings)
    )
    return Service(state, problems, fault, has_changed=has_changed)
