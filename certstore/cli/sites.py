"""`certedge site …`: lists, shows, adds, changes and removes sites."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, get_args

import typer

from certstore.cli.asking import ONCE_IT_RUNS, ask, confirm, service_runs, show_change
from certstore.cli.completion import SiteKey, words
from certstore.cli.context import AsJson, Config, Edge, check_site_key, group, open_edge, option, repeated_option
from certstore.cli.failure import CommandFailed, Exit
from certstore.cli.lazy import models, requests, status
from certstore.cli.output import GOOD, WARNING, Cell, print_json, print_lines, print_table
from certstore.cli.status import expiry_cell, read_all, read_one, show_site, state_cell

app = group("List, show, add, change and remove sites.", "certedge site list")

_SOURCES = ("file", "acme", "main")
CAN_BE_UNSET = (
    "additional_names", "certificate", "upstream", "inspect", "contact", "profile", "key_type", "reuse_key",
    "challenges",
)  # fmt: skip


def _key_types() -> Iterable[str]:
    return get_args(models.KeyType)


Host = Annotated[str | None, option("--host", "NAME", "The site's public host name.")]
Names = Annotated[list[str] | None, repeated_option("--name", "NAME", "An additional name")]
CertificateFrom = Annotated[
    str | None,
    option(
        "--certificate", "|".join(_SOURCES), "Where the certificate comes from.", autocompletion=words(lambda: _SOURCES)
    ),
]
Upstreams = Annotated[list[str] | None, repeated_option("--upstream", "URL", "The site's web server")]
Inspect = Annotated[
    bool | None, option("--inspect/--no-inspect", None, "Show the site's requests to mitmproxy's addons.")
]
Contacts = Annotated[list[str] | None, repeated_option("--contact", "ADDRESS", "A recipient of warnings")]
KeyType = Annotated[
    str | None,
    option(
        "--key-type",
        "TYPE",
        "Key type of ordered certificates: ec256, rsa2048, ec256+rsa2048, …",
        autocompletion=words(_key_types),
    ),
]
ReuseKey = Annotated[
    bool | None,
    option("--reuse-key/--new-key", None, "Whether renewals keep the key, for TLSA records of the form 3 1 1."),
]
Challenges = Annotated[
    list[str] | None,
    repeated_option(
        "--challenge",
        "TYPE",
        "A way to prove the site's names, in the order to try them",
        autocompletion=words(lambda: list(models.ChallengeType)),
    ),
]
Profile = Annotated[str | None, option("--profile", "NAME", "The CA's ACME profile.")]


@app.command("list", epilog="Example: certedge site list")
def list_sites(
    problems: Annotated[
        bool, typer.Option("--problems", help="Only list sites with problems; the exit code is 3 if there are any.")
    ] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """List all sites, one per line."""
    sites = read_all(open_edge(config), "list the sites")
    if problems:
        _list_problems([each for each in sites if each.problems], as_json=as_json)
        return
    if as_json:
        print_json({"sites": [_listed(each) for each in sites]})
        return
    rows = [
        (each.site, each.host, str(len(each.names)), each.source or "", expiry_cell(each), state_cell(each))
        for each in sites
    ]
    print_table(
        ("site", "host", "names", "from", "valid until", "state"),
        rows,
        gives_way=("names", "valid until", "from", "host"),
    )


@app.command(epilog="Example: certedge site show webmail.example.com")
def show(site: SiteKey, config: Config = None, as_json: AsJson = False) -> None:
    """Show everything about one site."""
    attempted = f"show the site {site}"
    check_site_key(site, attempted)
    facts = read_one(open_edge(config), site, attempted)
    if as_json:
        print_json(facts.to_json())
    else:
        show_site(facts)


@app.command(epilog="Example: certedge site add webmail.example.com --name autodiscover.example.com")
def add(
    site: SiteKey,
    host: Host = None,
    names: Names = None,
    certificate: CertificateFrom = None,
    upstream: Upstreams = None,
    inspect: Inspect = None,
    contact: Contacts = None,
    key_type: KeyType = None,
    reuse_key: ReuseKey = None,
    profile: Profile = None,
    challenges: Challenges = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Add a site: a folder with its site.yaml. SITE is also its host name, unless --host gives another."""
    attempted = f"add the site {site}"
    check_site_key(site, attempted)
    if host is None and "." not in site:
        raise CommandFailed(attempted, f"{site} is not a host name", "give the site's host with --host", Exit.USAGE)
    given = _given(names, certificate, upstream, inspect, contact, key_type, reuse_key, profile, challenges)
    edge = open_edge(config)
    request = requests.AddSiteRequest(site, {"host": host or site, **given})
    show_change(edge, ask(edge, request, attempted), as_json=as_json)
    _show_next_step(edge, site, certificate, as_json=as_json)


@app.command("set", epilog="Example: certedge site set webmail.example.com --add-name autodiscover.example.com")
def set_site(
    site: SiteKey,
    host: Host = None,
    names: Names = None,
    add_name: Annotated[list[str] | None, repeated_option("--add-name", "NAME", "Add this name")] = None,
    remove_name: Annotated[list[str] | None, repeated_option("--remove-name", "NAME", "Remove this name")] = None,
    certificate: CertificateFrom = None,
    upstream: Upstreams = None,
    inspect: Inspect = None,
    contact: Contacts = None,
    key_type: KeyType = None,
    reuse_key: ReuseKey = None,
    profile: Profile = None,
    challenges: Challenges = None,
    unset: Annotated[
        list[str] | None,
        option(
            "--unset",
            "KEY",
            f"Reset this key to its default: {', '.join(CAN_BE_UNSET)}.",
            autocompletion=words(lambda: CAN_BE_UNSET),
        ),
    ] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Change the settings of a site; all others stay. --name replaces the whole list of additional names."""
    attempted = f"change the site {site}"
    check_site_key(site, attempted)
    changes = _given(names, certificate, upstream, inspect, contact, key_type, reuse_key, profile, challenges)
    if host is not None:
        changes["host"] = host
    request = requests.SetSiteRequest(
        site, changes, tuple(unset or ()), tuple(add_name or ()), tuple(remove_name or ())
    )
    if unknown := [key for key in unset or () if key not in CAN_BE_UNSET]:
        raise CommandFailed(attempted, f"--unset {unknown[0]}: allowed: {', '.join(CAN_BE_UNSET)}", "", Exit.USAGE)
    if request == requests.SetSiteRequest(site):
        raise CommandFailed(attempted, "no change was given", "see: certedge site set --help", Exit.USAGE)
    edge = open_edge(config)
    show_change(edge, ask(edge, request, attempted), as_json=as_json)
    _show_next_step(edge, site, certificate, as_json=as_json)


@app.command(epilog="Example: certedge site adopt webmail.example.com")
def adopt(site: SiteKey, config: Config = None, as_json: AsJson = False) -> None:
    """Apply the whole site.yaml of a site although others may write it. Look at it first."""
    attempted = f"adopt the site.yaml of {site}"
    check_site_key(site, attempted)
    edge = open_edge(config)
    show_change(edge, ask(edge, requests.AdoptSiteRequest(site), attempted), as_json=as_json)


@app.command(epilog="Example: certedge site remove webmail.example.com --yes")
def remove(
    site: SiteKey,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Remove a site. Its names get the main certificate; its versions stay in the archive."""
    attempted = f"remove the site {site}"
    check_site_key(site, attempted)
    edge = open_edge(config)
    confirm(f"Remove {site}? Its names will get the main certificate.", attempted, yes=yes)
    show_change(edge, ask(edge, requests.RemoveSiteRequest(site), attempted), as_json=as_json)


def _show_next_step(edge: Edge, site: str, certificate: str | None, *, as_json: bool) -> None:
    """The service starts the order by itself, so say where to look."""
    if certificate != "acme" or as_json:
        return
    when = "within seconds" if service_runs(edge) else ONCE_IT_RUNS
    print_lines(f"next: the certificate is ordered {when}; to check for obstacles: certedge preflight {site}")


def _given(
    names: list[str] | None,
    certificate: str | None,
    upstream: list[str] | None,
    inspect: bool | None,
    contact: list[str] | None,
    key_type: str | None,
    reuse_key: bool | None,
    profile: str | None,
    challenges: list[str] | None,
) -> dict[str, Any]:
    """The given options, under their keys in site.yaml."""
    values = {
        "additional_names": names or None,
        "certificate": certificate,
        "upstream": upstream or None,
        "inspect": inspect,
        "contact": contact or None,
        "key_type": key_type,
        "reuse_key": reuse_key,
        "profile": profile,
        "challenges": challenges or None,
    }
    return {key: value for key, value in values.items() if value is not None}


def _list_problems(troubled: list[status.SiteFacts], *, as_json: bool) -> None:
    """One line per problem."""
    if as_json:
        found = [{**_listed(each), "problems": [one.to_json() for one in each.problems]} for each in troubled]
        print_json({"sites": found})
    elif troubled:
        rows = [
            (each.site, Cell(one.code, WARNING), state_cell(each), expiry_cell(each), one.message)
            for each in troubled
            for one in each.problems
        ]
        headers = ("site", "problem", "state", "valid until", "what")
        print_table(headers, rows, gives_way=("valid until", "state"), wraps=("what",))
    else:
        print_lines(Cell("no problems", GOOD))
    if troubled:
        raise typer.Exit(Exit.PROBLEMS)


def _listed(facts: status.SiteFacts) -> dict[str, Any]:
    whole = facts.to_json()
    return {key: whole[key] for key in ("site", "host", "names", "source", "version", "not_after", "state")}
