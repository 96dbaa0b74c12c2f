"""Which edge.yaml, and so which store: the options that every command shares, and the settings behind them.

Anything that can be wrong with the settings ends here, as a failure with exit code 2 that names file, line and key.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core

from certstore.cli.failure import CommandFailed, Exit
from certstore.cli.lazy import journal, loading, models, names, reader
from certstore.model.layout import Layout
from certstore.model.text import written_text

if TYPE_CHECKING:
    from certstore.model.snapshot import Snapshot

DEFAULT_CONFIG = Path("edge.yaml")
SYSTEM_CONFIG = Path("/etc/certedge/edge.yaml")
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


class _FlagsWithoutType:
    """Help shows no type beside a flag, which takes no value."""

    def get_params(self, ctx: Any) -> list[Any]:
        params: list[Any] = super().get_params(ctx)  # type: ignore[misc]  # of the class that this is mixed into
        for each in params:
            if getattr(each, "is_flag", False):
                each.metavar = ""
        return params


class _Command(_FlagsWithoutType, typer.core.TyperCommand):
    pass


class _Group(_FlagsWithoutType, typer.core.TyperGroup):
    pass


class App(typer.Typer):
    """Commands, or groups of commands."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(cls=_Group, no_args_is_help=True, **settings)

    def command[F: Callable[..., Any]](self, name: str | None = None, **settings: Any) -> Callable[[F], F]:
        return super().command(name, **{"cls": _Command, **settings})


def group(what: str, example: str) -> App:
    """Commands that share the first word."""
    return App(help=what, epilog=f"Example: {example}")


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
    """Where nothing is named, the file in this folder, or else the machine's."""
    if given is not None:
        return given
    if named := os.environ.get(CONFIG_VARIABLE):
        return Path(named)
    is_system = not os.path.lexists(DEFAULT_CONFIG) and os.path.lexists(SYSTEM_CONFIG)
    return SYSTEM_CONFIG if is_system else DEFAULT_CONFIG


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
        metavar="FILE",
        callback=_resolve_config,
        readable=False,  # open_edge checks it, with a better message
        show_default=False,
        help=f"The settings file (default: what {CONFIG_VARIABLE} names, else ./edge.yaml, else {SYSTEM_CONFIG}).",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


WITHOUT_SETTINGS = "name the file with --config, or create one with: certedge init --host YOUR.HOST.NAME"


def open_edge(config: Path | None) -> Edge:
    """Read and check edge.yaml; raises CommandFailed."""
    path = chosen_config(config)
    attempted = f"read the settings {path}"
    try:
        text = written_text(path.read_bytes())
    except FileNotFoundError:
        raise CommandFailed(attempted, "there is no such file", WITHOUT_SETTINGS, Exit.USAGE) from None
    except OSError as error:
        raise CommandFailed(attempted, error.strerror or str(error), "", Exit.USAGE) from None
    except UnicodeDecodeError as error:
        raise CommandFailed(attempted, f"not UTF-8 text (byte {error.start})", "", Exit.USAGE) from None
    try:
        return Edge(path, loading.parse_settings(text, str(path)))
    except loading.SettingsError as error:
        raise CommandFailed(attempted, str(error), "", Exit.USAGE) from None


def typed_site(text: str) -> str:
    """The key of a site as people type it: with U-labels, capitals or a final dot. What is no host name stays as it is,
    for `check_site_key` to explain."""
    if names.is_site_key(text):
        return text
    try:
        return names.DomainName.parse(text).value
    except names.InvalidName:
        return text


def typed_sites(texts: list[str] | None) -> list[str] | None:
    return [typed_site(each) for each in texts] if texts is not None else None


def check_site_key(site: str, attempted: str) -> None:
    """Raises CommandFailed when the text is not a valid site key."""
    if names.is_site_key(site):
        return
    reason = ""
    try:
        names.DomainName.parse(site)
    except names.InvalidName as invalid:
        reason = f": {invalid}" if "." in site else ""
    found = f"{site!r:.100} is not a valid site key{reason}"
    advice = "a key is a host name, or letters a-z, digits and hyphens."
    raise CommandFailed(attempted, found, f"{advice} To list the sites: certedge site list", Exit.USAGE)
