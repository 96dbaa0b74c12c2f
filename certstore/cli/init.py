"""`certedge init`: a first edge.yaml with every listener that one may want, and the store that it names.

Makes what is missing and overwrites nothing.
"""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import Annotated

import typer

from certstore.cli.failure import CommandFailed, Exit
from certstore.cli.output import print_lines
from certstore.model import layout as names

EDGE_YAML = "edge.yaml"

_SETTINGS = """\
# Settings of the edge front. Check after a change: certedge check-config. Take into use: SIGHUP (systemctl reload).
# Certificates are no settings: drop them below store/, or hand them over with certedge cert install.

store: ./store                        # relative to this file
upstream: http://127.0.0.1:8080       # the web server behind; also https://host:port or unix:/path, one or a list

listeners:
  - {kind: http, listen: "0.0.0.0:80"}       # answers HTTP-01 challenges, redirects everything else to https
  - {kind: https, listen: "0.0.0.0:443"}
  - {kind: health, listen: "127.0.0.1:8081"} # 200 while a worker can serve: point load balancers here
  # IPv6 as well:
  # - {kind: http, listen: "[::]:80"}
  # - {kind: https, listen: "[::]:443"}
  # Mail, always on the main certificate. `upstream` is the mail server's address; `proxy_protocol: v2` tells it who
  # the client is (Dovecot: haproxy = yes, Postfix: smtpd_upstream_proxy_protocol = haproxy).
{mail}

# workers: auto                       # processes that serve; auto: one per core
# tls: {minimum_version: "1.2", unknown_name: main}   # unknown_name: reject closes on names that no site declares
# http: {redirect_to_https: true, hsts: "max-age=31536000"}
# trusted_proxies: [192.0.2.0/24]     # whose PROXY header and X-Forwarded-* are believed
# keys_group: ssl-cert                # a group of daemons that may read live/, keys included
"""

_SITE = """\
# The main site: its certificate serves every client that names no other site, and all mail.
# Its certificate: drop key and chain into this folder (any file names), or: certedge cert install main ...
host: {host}
# additional_names: [autodiscover.example.com]
"""


def init(
    host: Annotated[str, typer.Option(metavar="NAME", show_default=False, help="The main site's host name.")],
    folder: Annotated[Path, typer.Option("--dir", metavar="DIR", help="Where edge.yaml and the store go.")] = Path(),
    owner: Annotated[
        str | None,
        typer.Option(metavar="USER", show_default=False, help="As root: the user that the service runs as."),
    ] = None,
) -> None:
    """Write a first edge.yaml and a store; overwrite nothing."""
    attempted = f"make the first settings and store in {folder.absolute()}"
    name = _host_name(host, attempted)
    ids = _ids(owner, attempted)
    layout = names.Layout(folder / "store")
    files = {folder / EDGE_YAML: settings_text(), layout.site_yaml("main"): _SITE.format(host=name)}
    if there := [str(path) for path in files if os.path.lexists(path)]:
        remedy = "nothing is overwritten: edit what is there, or choose another folder with --dir"
        raise CommandFailed(attempted, f"{', '.join(there)} exists already", remedy)
    folder.mkdir(parents=True, exist_ok=True)
    # Dropping is for administrators, who may not be the service's user: these folders hold no keys of the store's.
    made = [path for path in (layout.root, layout.drop_folder("main"), layout.domains) if not path.exists()]
    for path in made:
        path.mkdir(mode=0o755)
    for path, text in files.items():
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    if ids is not None:
        for path in (*made, layout.site_yaml("main")):
            os.chown(path, *ids)
    print_lines(
        f"{folder / EDGE_YAML}: look at `upstream` and `listeners`, then: certedge check-config",
        f"{layout.drop_folder('main')}: drop the certificate of {name} here; until then a self-signed one is made",
        f"{layout.domains}: one folder per domain, or: certedge site add",
        "Start: certedge run",
    )


def settings_text() -> str:
    """Examples of all mail listeners are in it, each with its mail server on a port 1000 above the one in the clear."""
    from certstore.model.settings.models import ListenerKind

    mail = "\n".join(
        f'  # - {{kind: {kind}, listen: "0.0.0.0:{kind.usual_port}", '
        f'upstream: "127.0.0.1:{1000 + ListenerKind(kind.removesuffix("s")).usual_port}", proxy_protocol: v2}}'
        for kind in ListenerKind
        if kind.is_mail
    )
    return _SETTINGS.replace("{mail}", mail)


def _host_name(host: str, attempted: str) -> str:
    from certstore.model.names import DomainName, InvalidName

    try:
        return DomainName.parse(host).value
    except InvalidName as error:
        raise CommandFailed(attempted, str(error), "", Exit.USAGE) from None


def _ids(owner: str | None, attempted: str) -> tuple[int, int] | None:
    if owner is None:
        return None
    try:
        user = pwd.getpwnam(owner)
    except KeyError:
        raise CommandFailed(attempted, f"there is no user {owner!r}", "", Exit.USAGE) from None
    return user.pw_uid, user.pw_gid
