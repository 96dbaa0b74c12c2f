"""The modules that commands use only while they run, each loaded at its first use.

Together they take longer to import than everything else, and neither `--help` nor most completions need them.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

__all__ = [
    "atomic", "authorization", "client", "cluster_standing", "counted_settings", "import_leftovers", "import_plan",
    "import_sources", "journal", "loading", "models", "names", "people", "plan", "preflight_facts", "reader",
    "requests", "results", "revocation", "revocations", "section", "selection", "service_problems", "service_report",
    "service_state", "site_settings", "snapshot", "status", "ways",
]  # fmt: skip


class _Lazy(ModuleType):
    """Stands for the module of its name."""

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module(self.__name__), name)


if TYPE_CHECKING:
    from certstore.cli import import_leftovers, import_plan, import_sources
    from certstore.control import client
    from certstore.control.commands import requests, results
    from certstore.files import atomic
    from certstore.model import names, selection, service_state, snapshot
    from certstore.model.console import authorization, people
    from certstore.model.renewal import preflight_facts, revocation, ways
    from certstore.model.settings import loading, models, section
    from certstore.monitoring import cluster_standing, service_problems, service_report
    from certstore.store import counted_settings, journal, reader, revocations, site_settings, status
    from certstore.verify import plan
else:
    import_leftovers = _Lazy("certstore.cli.import_leftovers")
    import_plan = _Lazy("certstore.cli.import_plan")
    import_sources = _Lazy("certstore.cli.import_sources")
    client = _Lazy("certstore.control.client")
    requests = _Lazy("certstore.control.commands.requests")
    results = _Lazy("certstore.control.commands.results")
    atomic = _Lazy("certstore.files.atomic")
    names = _Lazy("certstore.model.names")
    selection = _Lazy("certstore.model.selection")
    service_state = _Lazy("certstore.model.service_state")
    snapshot = _Lazy("certstore.model.snapshot")
    service_problems = _Lazy("certstore.monitoring.service_problems")
    service_report = _Lazy("certstore.monitoring.service_report")
    authorization = _Lazy("certstore.model.console.authorization")
    people = _Lazy("certstore.model.console.people")
    preflight_facts = _Lazy("certstore.model.renewal.preflight_facts")
    revocation = _Lazy("certstore.model.renewal.revocation")
    ways = _Lazy("certstore.model.renewal.ways")
    loading = _Lazy("certstore.model.settings.loading")
    models = _Lazy("certstore.model.settings.models")
    section = _Lazy("certstore.model.settings.section")
    cluster_standing = _Lazy("certstore.monitoring.cluster_standing")
    journal = _Lazy("certstore.store.journal")
    reader = _Lazy("certstore.store.reader")
    counted_settings = _Lazy("certstore.store.counted_settings")
    revocations = _Lazy("certstore.store.revocations")
    site_settings = _Lazy("certstore.store.site_settings")
    status = _Lazy("certstore.store.status")
    plan = _Lazy("certstore.verify.plan")
