"""`acme.dns` as people write it."""

from pathlib import Path

import pytest

from certstore.model.settings.addresses import HostPort
from certstore.model.settings.dns import DnsSettings, ExecSettings, LexiconSettings, Rfc2136Settings
from certstore.model.settings.loading import SettingsError, parse_settings

WHOLE = """
acme:
  challenges: [dns-01]
  dns:
    rfc2136: {server: 192.0.2.53, tsig_secret_file: tsig.key}
    propagation_seconds: 300
    zones:
      Client-A.com: {lexicon: {provider: cloudflare, credentials_file: cloudflare, options: {ttl: 120}}}
      acme.client-a.com: {exec: [/usr/local/bin/hook, --quiet]}
      client-b.com: {exec: {command: [/usr/local/bin/hook], seconds: 300, credentials_file: hook.env}}
"""


def whole() -> DnsSettings:
    dns = parse_settings(WHOLE, "edge.yaml").acme.dns
    assert dns is not None
    return dns


@pytest.mark.parametrize(
    ("name", "key", "way"),
    [
        ("_acme-challenge.example.org", "acme.dns.rfc2136", Rfc2136Settings),
        ("_acme-challenge.www.client-a.com", "acme.dns.zones.client-a.com.lexicon", LexiconSettings),
        ("client-x.acme.client-a.com", "acme.dns.zones.acme.client-a.com.exec", ExecSettings),
        ("xclient-a.com", "acme.dns.rfc2136", Rfc2136Settings),
    ],
    ids=["the default", "a zone", "the closest zone", "another zone that ends alike"],
)
def test_the_closest_zone_decides(name: str, key: str, way: type) -> None:
    found = whole().way_for(name)
    assert found is not None
    assert (found[0], type(found[1])) == (key, way)


def test_without_a_default_other_zones_have_no_way() -> None:
    dns = DnsSettings.model_validate({"zones": {"client-a.com": {"exec": ["/bin/hook"]}}})
    assert dns.way_for("_acme-challenge.example.org") is None
    assert dns.named_zone("_acme-challenge.client-a.com") == "client-a.com"


def test_all_ways_are_listed_with_their_keys() -> None:
    assert [key for key, _ in whole().ways()] == [
        "acme.dns.rfc2136",
        "acme.dns.zones.client-a.com.lexicon",
        "acme.dns.zones.acme.client-a.com.exec",
        "acme.dns.zones.client-b.com.exec",
    ]


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        ("192.0.2.53", HostPort("192.0.2.53", 53)),
        ("192.0.2.53:5353", HostPort("192.0.2.53", 5353)),
        ("2001:db8::53", HostPort("2001:db8::53", 53)),
        ("'[2001:db8::53]:5353'", HostPort("2001:db8::53", 5353)),
        ("ns1.example.org", HostPort("ns1.example.org", 53)),
    ],
)
def test_a_server_has_the_usual_port(server: str, expected: HostPort) -> None:
    text = f"acme: {{dns: {{rfc2136: {{server: {server}, tsig_secret_file: k}}}}}}"
    dns = parse_settings(text, "edge.yaml").acme.dns
    assert dns is not None
    assert dns.rfc2136 == Rfc2136Settings(server=expected, tsig_secret_file=Path("k"))


@pytest.mark.parametrize(
    ("dns", "said"),
    [
        ("{}", "acme.dns: no way is given: set rfc2136, lexicon or exec, or name your zones in zones"),
        ("{exec: rm -rf /}", "a list: the program and its arguments, as no shell reads them"),
        ("{exec: [hook]}", "the whole path of the program first"),
        ("{exec: [/hook], lexicon: {provider: x}}", "lexicon and exec are both given"),
        ("{zones: {client-a.com: {}}}", "one of rfc2136, lexicon and exec is required"),
        ("{zones: {'*.a.com': {exec: [/hook]}}}", "is a wildcard"),
        ("{lexicon: {provider: Cloud Flare}}", "a provider's name as dns-lexicon has it"),
        ("{lexicon: {provider: x, options: {auth_token: hunter2}}}", "auth_token looks like a credential"),
        ("{rfc2136: {server: 192.0.2.1}}", "acme.dns.rfc2136.tsig_secret_file: this key is required"),
        ("{rfc2136: {server: 192.0.2.1, tsig_secret_file: k, tsig_algorithm: sha256}}", "'hmac-sha256'"),
        ("{rfc2136: {server: 192.0.2.1, tsig_secret_file: k, tsig_secret: hunter2}}", "unknown key"),
    ],
)
def test_a_fault_says_what_is_allowed_and_shows_no_secret(dns: str, said: str) -> None:
    with pytest.raises(SettingsError) as refused:
        parse_settings(f"acme: {{dns: {dns}}}", "edge.yaml")
    assert said in str(refused.value)
    assert "hunter2" not in str(refused.value)
