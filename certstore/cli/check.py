"""`certedge check-config`: faults in edge.yaml and every site.yaml, with file, line, key, value and what is allowed.

It also lists entries of domains/ that belong to no site; the service ignores them.
"""

from __future__ import annotations

import dataclasses
import grp
from collections.abc import Callable, Iterable, Iterator
from ipaddress import ip_address
from pathlib import Path

import typer

from certstore.cli.context import WITHOUT_SETTINGS, AsJson, Config, Edge, chosen_config
from certstore.cli.failure import CommandFailed, Exit, show_failure
from certstore.cli.ignored import ignored_entries, ignored_facts, ignored_lines
from certstore.cli.lazy import loading, models
from certstore.cli.output import GOOD, WARNING, Cell, print_json, print_lines
from certstore.model.layout import Layout
from certstore.model.text import written_text


def check_config(config: Config = None, as_json: AsJson = False) -> None:
    """Check edge.yaml and every site.yaml of its store."""
    path = chosen_config(config)
    settings, faults = _check(path, loading.parse_settings)
    files, notes = [str(path)], list[str]()
    ignored: dict[Path, str] = {}
    if settings is not None:
        faults += _missing_files(path, settings) + _unknown_group(path, settings)
        faults += _dns_faults(path, settings) + _cluster_files(path, settings)
        layout = Edge(path, settings).layout
        if not layout.root.exists():  # this may be intended, but is often a mistake
            notes = [f"there is no store {layout.root} yet: certedge run creates an empty one"]
        hosts: set[str] = set()
        sites = list[models.SiteSettings]()
        for site_yaml in _site_files(layout):
            files.append(str(site_yaml))
            site, site_faults = _check(site_yaml, loading.parse_site)
            faults += site_faults
            notes += _unproven_wildcards(settings, site) if site is not None else []
            hosts |= {site.host} if site is not None else set()
            sites += [site] if site is not None else []
        notes += _unserved_challenges(settings, sites)
        ignored = ignored_entries(layout, hosts)
    if as_json:
        errors = [dataclasses.asdict(fault) for fault in faults]
        print_json({"files": files, "errors": errors, "notes": notes, "ignored": ignored_facts(ignored)})
    else:
        print_lines(*ignored_lines(ignored))
        number = f"{len(files)} files" if len(files) > 1 else "1 file"
        if not faults:
            print_lines(Cell(f"{number} checked, no errors{' in them' if ignored else ''}", GOOD))
            print_lines(*(Cell(f"note: {each}", WARNING) for each in notes))
    if faults:
        found = "\n".join(map(str, faults))
        remedy = "" if path.exists() else WITHOUT_SETTINGS
        show_failure(CommandFailed(f"accept the settings of {path}", found, remedy))
        raise typer.Exit(Exit.USAGE)


def _check[T](path: Path, parse: Callable[[str, str], T]) -> tuple[T | None, list[loading.SettingsFault]]:
    try:
        return parse(written_text(path.read_bytes()), str(path)), []
    except OSError as error:
        reason = f"the file can't be read: {error.strerror}"
    except UnicodeDecodeError as error:
        reason = f"the file is not UTF-8 text (byte {error.start})"
    except loading.SettingsError as error:
        return None, list(error.faults)
    return None, [loading.SettingsFault(str(path), None, None, None, None, reason)]


def _site_files(layout: Layout) -> Iterator[Path]:
    """Those that exist; a folder without one is a bare site."""
    folders = [layout.drop_folder("main")]
    if layout.domains.is_dir():
        folders += sorted(path for path in layout.domains.iterdir() if path.is_dir() and path.name != "main")
    for folder in folders:
        site_yaml = layout.site_yaml(folder.name)
        if site_yaml.exists():
            yield site_yaml


def _unknown_group(config: Path, settings: models.Settings) -> list[loading.SettingsFault]:
    group = settings.keys_group
    try:
        if group is not None:
            grp.getgrnam(group)
        return []
    except KeyError:
        reason = f"there is no group {group} on this machine"
        return [loading.SettingsFault(str(config), None, "keys_group", group, "an existing group", reason)]


def _dns_faults(config: Path, settings: models.Settings) -> list[loading.SettingsFault]:
    if settings.acme.dns is None:
        return []
    from certstore.acme.dns.setup_faults import find_setup_faults

    return [
        loading.SettingsFault(str(config), None, each.key, None, None, f"{each.found}. {each.remedy}".rstrip(". "))
        for each in find_setup_faults(settings.acme.dns, config.parent)
    ]


def _unserved_challenges(settings: models.Settings, sites: Iterable[models.SiteSettings]) -> list[str]:
    """Challenge types that are listed although nothing here could answer them.

    A node of a cluster may leave the answer to another one.
    """
    if settings.cluster is not None:
        return []
    wanted = [("acme.challenges", settings.acme.challenges or ())]
    wanted += [(f"{site.host}: challenges", site.challenges or ()) for site in sites]
    notes = []
    for key, types in wanted:
        for type_, kind in _LISTENER_OF.items():
            if type_ not in types:
                continue
            addresses = [each.listen for each in settings.listeners if each.kind == kind]
            port = 80 if kind == "http" else 443
            if not addresses:
                notes.append(f"{key}: {type_} needs a listener of kind {kind} on port {port}, and there is none")
            elif all(each.port != port for each in addresses):
                found = ", ".join(map(str, addresses))
                notes.append(f"{key}: a CA asks for {type_} on port {port}: something has to forward it to {found}")
            elif all(_is_loopback(each.host) for each in addresses if each.port == port):
                notes.append(f"{key}: a CA asks for {type_} on port {port}, where only this machine can connect")
        if "dns-01" in types and settings.acme.dns is None:
            notes.append(f"{key}: dns-01 is not set up (acme.dns)")
    return notes


_LISTENER_OF = {"http-01": "http", "tls-alpn-01": "https"}


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _unproven_wildcards(settings: models.Settings, site: models.SiteSettings) -> list[str]:
    """Names of a site that is ordered, which no challenge type of the settings can prove."""
    if site.certificate is not models.Source.ACME:
        return []
    wildcards = [name for name in site.names if name.startswith("*.")]
    types = site.challenges or settings.acme.challenges
    is_set_up = settings.acme.dns is not None and (types is None or "dns-01" in types)
    if not wildcards or is_set_up or (types is not None and "dns-persist-01" in types):
        return []
    return [f"{site.host}: {wildcards[0]} can't be ordered, as dns-01 is not set up for it (acme.dns, challenges)"]


def _cluster_files(config: Path, settings: models.Settings) -> list[loading.SettingsFault]:
    """Certificates for the engine that exist and can't be used. Who may not read them can't check them."""
    cluster = settings.cluster
    if cluster is None:
        return []
    from certstore.cluster.etcd_gateway import engine_context, has_common_name

    ca_file, client = config.parent / cluster.ca_file, cluster.client_cert
    client_path = config.parent / client if client is not None else None
    key, value = ("cluster.ca_file", cluster.ca_file)
    try:
        engine_context(ca_file, None)
        if client_path is not None:
            key, value = ("cluster.client_cert", client or value)
            engine_context(ca_file, client_path)
            if cluster.username is not None and has_common_name(client_path):
                reason = "it has a CommonName, which etcd's gateway refuses where users sign in: issue one without"
                return [loading.SettingsFault(str(config), None, key, str(value), None, reason)]
    except (FileNotFoundError, PermissionError):
        pass  # `_missing_files` names what is missing
    except OSError as error:
        reason = f"it can't be used: {error.strerror or type(error).__name__}"
        return [loading.SettingsFault(str(config), None, key, str(value), "a PEM file", reason)]
    return []


def _missing_files(config: Path, settings: models.Settings) -> list[loading.SettingsFault]:
    """Files that edge.yaml names and that do not exist. The settings models never read the disk."""
    smtp, webhook = settings.notify.smtp, settings.notify.webhook
    named: list[tuple[str, Path | None]] = [("acme.ca_file", settings.acme.ca_file)]
    for position, upstream in enumerate(settings.upstream):
        named += [(f"upstream[{position}].{key}", getattr(upstream, key)) for key in ("ca_file", "client_cert")]
    for position, listener in enumerate(settings.listeners):
        named.append((f"listeners[{position}].upstream_ca_file", listener.upstream_ca_file))
    for position, script in enumerate(settings.inspection.scripts):
        named.append((f"inspection.scripts[{position}]", script))
    named += [("notify.smtp.password_file", smtp.password_file)] if smtp is not None else []
    if webhook is not None:
        named += [(f"notify.webhook.{key}", getattr(webhook, key)) for key in ("secret_file", "ca_file")]
    if settings.cluster is not None:
        files = ("ca_file", "client_cert", "password_file", "key_file")
        named += [(f"cluster.{key}", getattr(settings.cluster, key)) for key in files]
    return [
        loading.SettingsFault(
            str(config), None, key, str(path), "the path of an existing file", f"there is no file {path}"
        )
        for key, path in named
        if path is not None and not (config.parent / path).exists()
    ]
