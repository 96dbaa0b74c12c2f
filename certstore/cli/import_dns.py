"""How certbot or acme.sh proved a certificate's names over DNS, and what sets up the same here.

Reads which plugin wrote the records, never its secrets: what is suggested names files. Decides from `acme.dns` whether
a site's names can be proven by dns-01 here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from certstore.model.settings.dns import DnsSettings
from certstore.model.text import shown, written_text

_FILE_LIMIT = 65_536
_LABEL = "_acme-challenge."

# Where dns-lexicon has another name for it than the plugin.
_LEXICON_OF_CERTBOT = {
    "google": "googleclouddns", "linode": "linode4", "dnsmadeeasy": "dnsmadeeasy", "njalla": "njalla",
    **{name: name for name in (
        "cloudflare", "digitalocean", "dnsimple", "gehirn", "luadns", "nsone", "ovh", "route53", "sakuracloud",
        "hetzner", "gandi", "godaddy", "inwx", "netcup", "namecheap", "powerdns", "porkbun", "desec", "infomaniak",
        "ionos", "dynu", "duckdns", "vultr", "aliyun", "transip", "easydns", "rackspace", "exoscale", "hover",
    )},
}  # fmt: skip
_LEXICON_OF_ACME_SH = {
    "cf": "cloudflare", "dgon": "digitalocean", "me": "dnsmadeeasy", "linode_v4": "linode4", "linode": "linode4",
    "aws": "route53", "gandi_livedns": "gandi", "gd": "godaddy", "pdns": "powerdns", "ali": "aliyun", "dp": "dnspod",
    "gcloud": "googleclouddns", "azure": "azure", "namesilo": "namesilo",
    **{name: name for name in (
        "hetzner", "ovh", "nsone", "inwx", "netcup", "namecheap", "porkbun", "desec", "infomaniak", "ionos", "dynu",
        "duckdns", "vultr", "transip", "easydns", "exoscale", "dnsimple", "luadns", "cloudns", "njalla", "constellix",
    )},
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class DnsOrigin:
    """`plugin` is the program's name for it. `suggestion` is what to set in `acme.dns`, None where that is not known:
    then a program of one's own (`exec`) has to write the records."""

    plugin: str
    suggestion: str | None


def certbot_origin(renewal_conf: Path) -> DnsOrigin | None:
    """From renewal/NAME.conf; None where the names were proven otherwise, or nothing says how."""
    facts = _facts(renewal_conf)
    authenticator = facts.get("authenticator", "").removeprefix("certbot-").replace("_", "-")
    if "dns-" not in authenticator:
        if authenticator == "manual" and "dns-01" in facts.get("pref_challs", ""):
            return DnsOrigin("manual hooks", None)
        return None
    plugin = authenticator.rpartition("dns-")[2]
    credentials = facts.get(f"dns_{plugin.replace('-', '_')}_credentials")
    if plugin == "rfc2136" and credentials:
        server = _server(_facts(Path(credentials)))
        return DnsOrigin("dns-rfc2136", f"rfc2136: {{server: {server}, tsig_secret_file: {shown(credentials)}}}")
    return DnsOrigin(shown(f"dns-{plugin}"), _lexicon(_LEXICON_OF_CERTBOT.get(plugin)))


def acme_sh_origin(domain_conf: Path, account_conf: Path) -> DnsOrigin | None:
    """From DOMAIN/DOMAIN.conf, where Le_Webroot holds a plugin for each name, or one for all."""
    plugins = {each for each in _facts(domain_conf).get("Le_Webroot", "").split(",") if each.startswith("dns_")}
    if not plugins:
        return None
    plugin = min(plugins)
    if len(plugins) > 1:
        return DnsOrigin(", ".join(shown(each) for each in sorted(plugins)), None)
    if plugin == "dns_nsupdate":
        saved = {key.removeprefix("SAVED_"): value for key, value in _facts(account_conf).items()}
        key = saved.get("NSUPDATE_KEY", "FILE OF THE KEY")
        server = _server({"server": saved.get("NSUPDATE_SERVER", ""), "port": saved.get("NSUPDATE_SERVER_PORT", "")})
        return DnsOrigin(plugin, f"rfc2136: {{server: {server}, tsig_secret_file: {shown(key)}}}")
    return DnsOrigin(shown(plugin), _lexicon(_LEXICON_OF_ACME_SH.get(plugin.removeprefix("dns_"))))


def unproven(names: Sequence[str], dns: DnsSettings | None) -> list[str]:
    """The names in zones that `acme.dns` has no way to write into."""
    return [name for name in names if dns is None or dns.way_for(_LABEL + name.removeprefix("*.")) is None]


def _lexicon(provider: str | None) -> str | None:
    if provider is None:
        return None
    return f"lexicon: {{provider: {provider}, credentials_file: FILE}}, with dns-lexicon's options in that file"


def _server(facts: Mapping[str, str]) -> str:
    host = facts.get("dns_rfc2136_server") or facts.get("server") or "SERVER"
    port = facts.get("dns_rfc2136_port") or facts.get("port") or "53"
    return shown(f"'[{host}]:{port}'" if ":" in host else f"{host}:{port}")


def _facts(path: Path) -> dict[str, str]:
    """`key = value` or `key='value'`, of a file that may not be there."""
    try:
        with path.open("rb") as file:
            text = written_text(file.read(_FILE_LIMIT))
    except (OSError, UnicodeError):
        return {}
    found = re.finditer(r"^\s*([A-Za-z_][\w-]*)\s*=\s*(['\"]?)(.*?)\2\s*$", text, re.MULTILINE)
    return {each[1]: each[3] for each in found}
