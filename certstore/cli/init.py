"""`certedge init`: a first edge.yaml, from a sample or with an example of every listener, and the store that it names.

On a terminal it asks for what was not given. Overwrites nothing, and writes nothing that `check-config` would refuse.
"""

from __future__ import annotations

import json
import os
import pwd
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from certstore.cli.completion import words
from certstore.cli.context import option, repeated_option
from certstore.cli.failure import CommandFailed, Exit
from certstore.cli.lazy import loading, models
from certstore.cli.lazy import names as domain_names
from certstore.cli.output import print_lines
from certstore.cli.samples import SAMPLES, Sample
from certstore.model import layout as names

EDGE_YAML = "edge.yaml"
_WEB_SERVER = "http://127.0.0.1:8080"

_SETTINGS = """\
# Settings of the edge front. After a change, check them with certedge check-config and apply them with certedge reload
# (or systemctl reload certedge).
# Certificates are not settings: drop them into a folder below store/, or install them with certedge cert install.

store: ./store                        # relative to this file
upstream: http://127.0.0.1:8080       # your web server; also https://host:port or unix:/path, one or a list

listeners:                            # [::] is IPv6 and IPv4; 0.0.0.0 is IPv4 alone
  - {kind: http, listen: "[::]:80"}          # answers HTTP-01 challenges, redirects all else to https
  - {kind: https, listen: "[::]:443"}
  - {kind: health, listen: "127.0.0.1:8081"} # 200 while a worker can serve: for load balancers
  # Mail listeners always use the main certificate. `upstream` is the mail server's address; `proxy_protocol: v2` tells
  # it the client's address (Dovecot: haproxy = yes, Postfix: smtpd_upstream_proxy_protocol = haproxy).
{mail}

# workers: auto                       # worker processes; auto: one per core
# tls: {minimum_version: "1.2", unknown_name: main}   # unknown_name: reject refuses names that no site declares
# http: {redirect_to_https: true, hsts: "max-age=31536000"}
# trusted_proxies: [192.0.2.0/24]     # PROXY headers and X-Forwarded-* from these are trusted
# keys_group: ssl-cert                # a group that can read live/, private keys included
"""

_SITE = """\
# The main site: its certificate is for all mail, and for every client that names no other site.
# To give it a certificate, drop key and chain into this folder (any file names), or: certedge cert install main ...
host: {host}
# additional_names: [autodiscover.example.com]
"""


def init(
    host: Annotated[str | None, option("--host", "NAME", "The main site's host name; asked for on a terminal.")] = None,
    sample: Annotated[
        str | None,
        option(
            "--sample",
            "|".join(SAMPLES),
            "The settings to start from; asked for on a terminal.",
            autocompletion=words(lambda: SAMPLES),
        ),
    ] = None,
    folder: Annotated[Path, typer.Option("--dir", metavar="DIR", help="The folder for edge.yaml.")] = Path(),
    store: Annotated[
        Path | None, option("--store", "DIR", "The folder for the store (default: `store` beside edge.yaml).")
    ] = None,
    upstreams: Annotated[list[str] | None, repeated_option("--upstream", "URL", "A web server behind the edge")] = None,
    balancers: Annotated[
        list[str] | None, repeated_option("--balancer", "ADDRESS", "An address of the balancer in front")
    ] = None,
    owner: Annotated[str | None, option("--owner", "USER", "The user that runs the service (needs root).")] = None,
) -> None:
    """Create a first edge.yaml and a store that run. Nothing is overwritten."""
    attempted = f"create settings and a store in {folder.absolute()}"
    answers = _answers(host, sample, upstreams, balancers, attempted)
    ids = _ids(owner, attempted)
    layout = names.Layout(store.absolute() if store is not None else folder / "store")
    text = _settings_of(answers, str(layout.root) if store is not None else "./store", attempted)
    files = {folder / EDGE_YAML: text, layout.site_yaml("main"): _SITE.format(host=answers.host)}
    if there := [str(path) for path in files if os.path.lexists(path)]:
        remedy = "edit the existing file, or choose another folder with --dir"
        raise CommandFailed(attempted, f"{', '.join(there)} exists already", remedy)
    folder.mkdir(parents=True, exist_ok=True)
    layout.root.parent.mkdir(parents=True, exist_ok=True)
    # Administrators who are not the service's user drop files here; the store keeps no keys in these folders.
    made = [path for path in (layout.root, layout.drop_folder("main"), layout.domains) if not path.exists()]
    for path in made:
        path.mkdir(mode=0o755)
    for path, content in files.items():
        with path.open("x", encoding="utf-8") as file:
            file.write(content)
    if ids is not None:
        # The innermost first: once a folder is given away, its owner may put something else in the place of a name.
        for path in (layout.site_yaml("main"), *reversed(made)):
            os.chown(path, *ids, follow_symlinks=False)
    drops = layout.drop_folder("main")
    look = (
        "set `upstream` and `listeners`" if answers.sample is None else f"look at it (certedge docs {answers.sample})"
    )
    print_lines(
        f"{folder / EDGE_YAML}: {look}, then run: certedge check-config",
        f"{drops}: drop the certificate of {answers.host} here; until then a self-signed one is used",
        f"{layout.domains}: one folder per domain; create one here, or with: certedge site add",
        "Start: certedge run",
    )


@dataclass(frozen=True, slots=True)
class _Answers:
    """`sample` None: the settings with an example of everything."""

    host: str
    sample: Sample | None
    upstreams: tuple[str, ...]
    balancers: tuple[str, ...]


def _answers(
    host: str | None,
    sample: str | None,
    upstreams: Sequence[str] | None,
    balancers: Sequence[str] | None,
    attempted: str,
) -> _Answers:
    """What was given, and what a person at a terminal is asked for. Raises CommandFailed."""
    asks = sys.stdin.isatty() and (host is None or sample is None)
    if host is None:
        if not asks:
            raise CommandFailed(attempted, "no host name was given", "give it with --host NAME", Exit.USAGE)
        host = typer.prompt("Host name of the main site, for example mail.example.org", err=True)
    name = _host_name(host, attempted)
    if sample is None and asks:
        for key, each in SAMPLES.items():
            typer.echo(f"  {key:<16} {each.title}", err=True)
        sample = typer.prompt("Which of these", default=next(iter(SAMPLES)), err=True)
    if sample is not None and sample not in SAMPLES:
        raise CommandFailed(attempted, f"--sample {sample:.60}: allowed: {', '.join(SAMPLES)}", "", Exit.USAGE)
    chosen = SAMPLES[sample] if sample is not None else None
    if chosen is None and (upstreams or balancers):
        raise CommandFailed(attempted, "--upstream and --balancer fill a sample", "add --sample NAME", Exit.USAGE)
    if chosen is not None and not upstreams:
        upstreams = [_WEB_SERVER]
        if asks:
            upstreams = typer.prompt("Web server behind the edge", default=_WEB_SERVER, err=True).split()
    if chosen is not None and chosen.asks_for_balancers and not balancers:
        balancers = ["192.0.2.10"]
        if asks:
            balancers = typer.prompt("Addresses of the balancer", default=balancers[0], err=True).split()
    return _Answers(name, chosen, tuple(upstreams or ()), tuple(balancers or ()))


def _settings_of(answers: _Answers, store: str, attempted: str) -> str:
    """Checked before anything is written. Raises CommandFailed."""
    if answers.sample is None:
        text = settings_text()
        if store != "./store":
            text = text.replace("store: ./store ", f"store: {json.dumps(store)} ")
    else:
        text = answers.sample.filled(
            host=answers.host, store=store, upstreams=answers.upstreams, balancers=answers.balancers
        )
    try:
        loading.parse_settings(text, EDGE_YAML)
    except loading.SettingsError as error:
        raise CommandFailed(attempted, str(error), "", Exit.USAGE) from None
    return text


def settings_text() -> str:
    """With an example of every mail listener; its mail server's port is 1000 above the protocol's clear-text port."""
    mail = "\n".join(
        f'  # - {{kind: {kind}, listen: "[::]:{kind.usual_port}", '
        f'upstream: "127.0.0.1:{1000 + models.ListenerKind(kind.removesuffix("s")).usual_port}", proxy_protocol: v2}}'
        for kind in models.ListenerKind
        if kind.is_mail
    )
    return _SETTINGS.replace("{mail}", mail)


def _host_name(host: str, attempted: str) -> str:
    try:
        return domain_names.DomainName.parse(host).value
    except domain_names.InvalidName as error:
        raise CommandFailed(attempted, str(error), "", Exit.USAGE) from None


def _ids(owner: str | None, attempted: str) -> tuple[int, int] | None:
    if owner is None:
        return None
    try:
        user = pwd.getpwnam(owner)
    except KeyError:
        raise CommandFailed(attempted, f"there is no user {owner!r}", "", Exit.USAGE) from None
    return user.pw_uid, user.pw_gid
