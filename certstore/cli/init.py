"""`certedge init`: a first edge.yaml with an example of every listener, and the store that it names.

Overwrites nothing.
"""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import Annotated

import typer

from certstore.cli.context import option
from certstore.cli.failure import CommandFailed, Exit
from certstore.cli.lazy import models
from certstore.cli.lazy import names as domain_names
from certstore.cli.output import print_lines
from certstore.model import layout as names

EDGE_YAML = "edge.yaml"

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
    host: Annotated[str, option("--host", "NAME", "The main site's host name.")],
    folder: Annotated[
        Path, typer.Option("--dir", metavar="DIR", help="The folder for edge.yaml and the store.")
    ] = Path(),
    owner: Annotated[str | None, option("--owner", "USER", "The user that runs the service (needs root).")] = None,
) -> None:
    """Create a first edge.yaml and a store. Nothing is overwritten."""
    attempted = f"create settings and a store in {folder.absolute()}"
    name = _host_name(host, attempted)
    ids = _ids(owner, attempted)
    layout = names.Layout(folder / "store")
    files = {folder / EDGE_YAML: settings_text(), layout.site_yaml("main"): _SITE.format(host=name)}
    if there := [str(path) for path in files if os.path.lexists(path)]:
        remedy = "edit the existing file, or choose another folder with --dir"
        raise CommandFailed(attempted, f"{', '.join(there)} exists already", remedy)
    folder.mkdir(parents=True, exist_ok=True)
    # Administrators who are not the service's user drop files here; the store keeps no keys in these folders.
    made = [path for path in (layout.root, layout.drop_folder("main"), layout.domains) if not path.exists()]
    for path in made:
        path.mkdir(mode=0o755)
    for path, text in files.items():
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    if ids is not None:
        # The innermost first: once a folder is given away, its owner may put something else in the place of a name.
        for path in (layout.site_yaml("main"), *reversed(made)):
            os.chown(path, *ids, follow_symlinks=False)
    print_lines(
        f"{folder / EDGE_YAML}: set `upstream` and `listeners`, then run: certedge check-config",
        f"{layout.drop_folder('main')}: drop the certificate of {name} here; until then a self-signed one is used",
        f"{layout.domains}: one folder per domain; create one here, or with: certedge site add",
        "Start: certedge run",
    )


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
