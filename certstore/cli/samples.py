"""The settings that `certedge init --sample` starts from: one per arrangement that deploy/ describes.

Texts only: the blanks are filled with what the administrator said, as YAML.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

_HEAD = """\
# {title}
# After a change, check it with certedge check-config and apply it with systemctl reload certedge (SIGHUP).
# Certificates are not settings: drop them into a folder below the store, or install them with certedge cert install.
store: {store}
"""
_WEB = """\
upstream: {upstream}
"""
_HEALTH = """\
  - {{kind: health, listen: "127.0.0.1:8081"}}   # 200 while a worker can serve
"""
_TAIL = """\
# access_log: {{path: /var/log/certedge/access.log, format: json}}
# acme: {{contact: [admin@example.org], agree_to_terms: true}}   # then: certedge site set main --certificate acme
"""

ONE_SERVER = (
    _HEAD
    + "# Your web server: http://, https:// (verified) or unix:/path; one or a list.\n"
    + _WEB
    + """\
listeners:                       # [::] is IPv6 and IPv4
  - {{kind: http,  listen: "[::]:80"}}           # answers HTTP-01 challenges, redirects all else to https
  - {{kind: https, listen: "[::]:443"}}
"""
    + _HEALTH
    + _TAIL
)
MAIL_SERVER = (
    _HEAD
    + "# Your web server, which moves to this port. Mail listeners always show the main certificate.\n"
    + _WEB
    + """\
listeners:                       # [::] is IPv6 and IPv4
  - {{kind: http,  listen: "[::]:80"}}
  - {{kind: https, listen: "[::]:443"}}
  # Dovecot on 127.0.0.1, with haproxy = yes on each inet_listener.
  - {{kind: imap,  listen: "[::]:143",  upstream: "127.0.0.1:1143", proxy_protocol: v2}}
  - {{kind: imaps, listen: "[::]:993",  upstream: "127.0.0.1:1143", proxy_protocol: v2}}
  - {{kind: pop3,  listen: "[::]:110",  upstream: "127.0.0.1:1110", proxy_protocol: v2}}
  - {{kind: pop3s, listen: "[::]:995",  upstream: "127.0.0.1:1110", proxy_protocol: v2}}
  - {{kind: sieve, listen: "[::]:4190", upstream: "127.0.0.1:5190", proxy_protocol: v2}}
  # Postfix on 127.0.0.1, with smtpd_upstream_proxy_protocol = haproxy on its services in master.cf.
  - {{kind: smtp,        listen: "[::]:25",  upstream: "127.0.0.1:1025", proxy_protocol: v2}}
  - {{kind: submission,  listen: "[::]:587", upstream: "127.0.0.1:1587", proxy_protocol: v2}}
  - {{kind: submissions, listen: "[::]:465", upstream: "127.0.0.1:1587", proxy_protocol: v2}}
"""
    + _HEALTH
    + _TAIL
)
BEHIND_BALANCER = (
    _HEAD
    + """\
# The balancer's addresses: it must send the PROXY protocol, and nobody else may.
trusted_proxies: {balancers}
# Your web servers.
"""
    + _WEB
    + """\
listeners:                       # [::] is IPv6 and IPv4
  - {{kind: http,  listen: "[::]:80",  accept_proxy_protocol: true}}
  - {{kind: https, listen: "[::]:443", accept_proxy_protocol: true}}
  # - {{kind: imaps, listen: "[::]:993", upstream: "10.0.0.31:993", upstream_tls: tls, upstream_name: {host},
  #    accept_proxy_protocol: true}}
  # - {{kind: submission, listen: "[::]:587", upstream: "10.0.0.31:587", upstream_tls: starttls, upstream_name: {host},
  #    accept_proxy_protocol: true}}
  # The balancer checks here whether this server takes connections: 200 while it does.
  - {{kind: health, listen: "[::]:8081"}}
"""
    + _TAIL
)


@dataclass(frozen=True, slots=True)
class Sample:
    """`title` says for whom it is, in one line."""

    title: str
    text: str = field(repr=False)

    @property
    def asks_for_balancers(self) -> bool:
        return "{balancers}" in self.text

    def filled(self, *, host: str, store: str, upstreams: Sequence[str], balancers: Sequence[str]) -> str:
        """JSON texts are YAML too, whatever is in them."""
        upstream = json.dumps(upstreams[0]) if len(upstreams) == 1 else json.dumps(list(upstreams))
        listed = json.dumps(list(balancers))
        return self.text.format(
            title=self.title, host=host, store=json.dumps(store), upstream=upstream, balancers=listed
        )


SAMPLES: Mapping[str, Sample] = {
    "one-server": Sample("Web for many domains on one server.", ONE_SERVER),
    "mail-server": Sample("Web and mail on one server: every daemon moves to a port on 127.0.0.1.", MAIL_SERVER),
    "behind-balancer": Sample("Behind a TCP balancer that sends the PROXY protocol.", BEHIND_BALANCER),
}
