"""The man pages certedge(1) and edge.yaml(5), made from the commands and the settings themselves.

Texts only: deploy/build-docs writes them. For groff and mandoc, in the macros of man(7).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import typer

from certstore.cli.context import CONFIG_VARIABLE
from certstore.cli.failure import Exit
from certstore.model.settings.descriptions import EDGE, SITE
from certstore.model.settings.models import Settings, SiteSettings
from certstore.model.settings.reference import Nature, Setting, settings_of

_CODES = {
    Exit.DONE: "Success.",
    Exit.FAILED: "Failure; the message says what was found and what to do.",
    Exit.USAGE: "Wrong usage, or settings that can't be accepted.",
    Exit.PROBLEMS: "Success, but problems were found.",
}


def commands_page(app: typer.Typer) -> str:
    """certedge(1), with every command of the app."""
    top: Any = typer.main.get_command(app)
    lines = [
        *_head("CERTEDGE", 1, "certedge", "an edge front for mail platforms"),
        ".SH SYNOPSIS",
        ".B certedge",
        ".RI [ options ]",
        ".I command",
        ".RI [ arguments ]",
        ".SH DESCRIPTION",
        _text(top.help),
        ".SH OPTIONS",
        *_options(top),
        *(".TP", ".B \\-\\-install\\-completion", "Let the shell complete commands, sites and allowed words."),
        _text("Each command accepts --config, and --help, which says what is below."),
        ".SH COMMANDS",
        *_commands(top, ()),
        ".SH EXIT STATUS",
        *(line for code, words in _CODES.items() for line in (".TP", f".B {code.value}", _text(words))),
        ".SH ENVIRONMENT",
        *(".TP", f".B {CONFIG_VARIABLE}", "The settings file, where no"),
        *(".B \\-\\-config", "names one."),
        ".SH FILES",
        *(".TP", ".I edge.yaml", "The settings:"),
        *(".BR edge.yaml (5).",),
        ".SH SEE ALSO",
        ".BR edge.yaml (5),",
        ".BR openssl (1)",
    ]
    return _page(lines)


def settings_page() -> str:
    """edge.yaml(5), with every setting of edge.yaml and of site.yaml."""
    site = [each for each in settings_of(SiteSettings, {**EDGE, **SITE}) if "[]" not in each.key]
    lines = [
        *_head("EDGE.YAML", 5, "edge.yaml", "the settings of certedge, and site.yaml, those of a site"),
        ".SH DESCRIPTION",
        _text(
            "edge.yaml is read from the current folder, or is the file that --config or " + CONFIG_VARIABLE + " names. "
            "A misspelt key or a wrong value is an error that names the file, the line, the key and what is allowed. "
            "Check it with certedge check-config; apply changes with SIGHUP."
        ),
        ".SH SETTINGS",
        *(line for each in settings_of(Settings, EDGE) for line in _setting(each)),
        ".SH SITE.YAML",
        _text(
            "Each site has a folder with a site.yaml: STORE/main for the main site, STORE/domains/SITE for a domain. "
            "Where others than root and the service may write it, only certificate, contact, profile, key_type and "
            "reuse_key count."
        ),
        *(line for each in site for line in _setting(each)),
        ".SH SEE ALSO",
        ".BR certedge (1)",
    ]
    return _page(lines)


def _head(title: str, section: int, name: str, what: str) -> list[str]:
    made = "Made by deploy/build-docs from the program's own texts."
    return [
        f'.\\" {made}'.replace("\\\\", "\\"),
        f'.TH {title} {section} "" certedge',
        ".SH NAME",
        f"{_text(name)} \\- {_text(what)}",
    ]


def _commands(group: Any, path: tuple[str, ...]) -> Iterator[str]:
    for name, command in group.commands.items():
        words = (*path, name)
        if hasattr(command, "commands"):
            yield from _commands(command, words)
            continue
        arguments = [each for each in command.params if each.param_type_name == "argument"]
        shown = " ".join(_argument(each) for each in arguments)
        yield f".SS certedge {_text(' '.join(words))} {_text(shown)}".rstrip()
        yield _text(" ".join((command.help or "").split()))
        for each in arguments:
            if each.help:
                yield from (".TP", f".I {_text(each.metavar or each.name)}", _text(each.help))
        yield from _options(command)
        if command.epilog:
            example = command.epilog.removeprefix("Example: ")
            yield from (".PP", "Example:", ".PP", ".nf", _text(example), ".fi")


def _argument(parameter: Any) -> str:
    name = (parameter.metavar or parameter.name.upper()) + ("..." if parameter.nargs != 1 else "")
    return name if parameter.required else f"[{name}]"


def _options(command: Any) -> Iterator[str]:
    """Those that every command has are described once, with the program's own; those of the library in our words."""
    for each in command.params:
        is_top = hasattr(command, "commands")
        is_known = "--config" in each.opts and not is_top
        if each.param_type_name != "option" or not each.help or is_known or "completion" in each.name:
            continue
        names = ", ".join((*each.opts, *each.secondary_opts))
        value = "" if each.is_flag else f" {each.metavar or 'VALUE'}"
        yield from (".TP", f".B {_text(names + value)}", _text(each.help))


def _setting(setting: Setting) -> Iterator[str]:
    yield from (".TP", f".B {_text(setting.key)}", _text(setting.meaning))
    facts = [f"Allowed: {setting.allowed}."] if setting.allowed else []
    if setting.nature is Nature.VALUE:
        facts.append(f"Default: {setting.default}." if setting.default else "Required." if setting.is_required else "")
    if text := " ".join(filter(None, facts)):
        yield _text(text)


def _text(text: str | None) -> str:
    """Plain text for roff: backslashes, hyphens that are to be copied, and marks at the beginning of a line."""
    plain = " ".join((text or "").split()).replace("\\", "\\e").replace("-", "\\-").replace("…", "...")
    plain = plain.replace("`", "").encode("ascii", "replace").decode("ascii")
    return f"\\&{plain}" if re.match(r"[.']", plain) else plain


def _page(lines: Iterable[str]) -> str:
    return "\n".join(line for line in lines if line) + "\n"
