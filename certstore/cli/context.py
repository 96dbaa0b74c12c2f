"""Which edge.yaml, and so which store: the options that every command shares, and the settings behind them.

Anything that can be wrong with the settings ends here, as a failure with exit code 2 that names file, line and key.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from certstore.cli.failure import CommandFailed, Exit
from certstore.cli.lazy import journal, loading, models, names, reader
from certstore.model.layout import Layout
from certstore.model.text import written_text

if TYPE_CHECKING:
    from certstore.model.snapshot import Snapshot

DEFAULT_CONFIG = Path("edge.yaml")
CONFIG_VARIABLE = "CERTEDGE_CONFIG"
_META = "certedge.config"


@dataclass(frozen=True, slots=True)
class Edge:
    """Settings, the file they came from, and the store that they name."""

    config: Path
    settings: models.Settings

    @property
    def base(self) -> Path:
        """Relative paths in edge.yaml start here."""
        return self.config.parent

    @property
    def layout(self) -> Layout:
        return Layout(self.base / self.settings.store)

    def snapshot(self) -> Snapshot | None:
        """What the workers serve from; None if the store is new, or this user can't read it."""
        try:
            return reader.Store(self.layout).snapshot()
        except journal.JournalUnreadable:
            return None


def group(what: str, example: str) -> typer.Typer:
    """Commands that share the first word."""
    return typer.Typer(no_args_is_help=True, help=what, epilog=f"Example: {example}")


def option(name: str, metavar: str | None, what: str, **more: Any) -> Any:
    """An option without a default that is worth showing."""
    return typer.Option(name, metavar=metavar, show_default=False, help=what, **more)


def repeated_option(name: str, metavar: str, what: str, **more: Any) -> Any:
    return option(name, metavar, f"{what}; can be repeated.", **more)


def argument(metavar: str, what: str, **more: Any) -> Any:
    return typer.Argument(metavar=metavar, show_default=False, help=what, **more)


def _resolve_config(context: typer.Context, value: Path | None) -> Path:
    """The option can stand before or after the command; the one after it wins."""
    if value is not None:
        context.meta[_META] = value
    return chosen_config(context.meta.get(_META))


def chosen_config(given: Path | None) -> Path:
    return given or Path(os.environ.get(CONFIG_VARIABLE) or DEFAULT_CONFIG)


def given_config(context: typer.Context) -> Path | None:
    """The --config of a line that the shell is completing: after the command, or before it."""
    at: Any = context  # typer's contexts have click's as parents
    while at is not None:
        if (value := at.params.get("config")) is not None:
            return Path(value)
        at = at.parent
    return None


Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        callback=_resolve_config,
        readable=False,  # open_edge checks it, with a better message
        show_default=False,
        help=f"The settings file (default: ./edge.yaml, or the file that {CONFIG_VARIABLE} names).",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def open_edge(config: Path | None) -> Edge:
    """Read and check edge.yaml; raises CommandFailed."""
    path = chosen_config(config)
    attempted = f"read the settings {path}"
    try:
        text = written_text(path.read_bytes())
    except FileNotFoundError:
        found = "there is no such file"
        remedy = "name the file with --config, or create one with: certedge init --host YOUR.HOST.NAME"
        raise CommandFailed(attempted, found, remedy, Exit.USAGE) from None
    except OSError as error:
        raise CommandFailed(attempted, error.strerror or str(error), "", Exit.USAGE) from None
    except UnicodeDecodeError as error:
        raise CommandFailed(attempted, f"not UTF-8 text (byte {error.start})", "", Exit.USAGE) from None
    try:
        return Edge(path, loading.parse_settings(text, str(path)))
    except loading.SettingsError as error:
        raise CommandFailed(attempted, str(error), "", Exit.USAGE) from None


def check_site_key(site: str, attempted: str) -> None:
    """Raises CommandFailed when the text is not a valid site key."""
    if names.is_site_key(site):
        return
    try:
        advice = f"did you mean {names.DomainName.parse(site).value}?"
    except names.InvalidName:
        advice = "a key is a host name in lower case (xn-- form), or letters a-z, digits and hyphens."
    found = f"{site!r:.100} is not a valid site key"
    raise CommandFailed(attempted, found, f"{advice} To list the sites: certedge site list", Exit.USAGE)
