"""Settings from text: the defaults, and what a fault reports."""

from collections.abc import Callable

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from certstore.model.settings.addresses import HostPort
from certstore.model.settings.loading import SettingsError, parse_settings, parse_site
from certstore.model.settings.models import ListenerKind, Settings, SiteSettings, Source

EXAMPLE = """
store: ./store
upstream: http://127.0.0.1:8080
workers: auto
listeners:
  - {kind: http,  listen: "0.0.0.0:80"}
  - {kind: https, listen: "[::]:443"}
  - {kind: imaps, listen: "0.0.0.0:993", upstream: "127.0.0.1:1143", upstream_tls: none, proxy_protocol: v2}
  - {kind: health, listen: "127.0.0.1:8081"}
tls: {minimum_version: "1.3", unknown_name: reject}
trusted_proxies: [10.0.0.0/8, "2001:db8::1"]
limits: {header_bytes: 8192}
notify: {smtp: {host: mail.example.com, password_file: /run/password}, from: edge@example.com, to: [ops@example.com]}
"""


def faults_of(text: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        parse_settings(text, "edge.yaml")
    return [str(fault) for fault in caught.value.faults]


def site_faults_of(text: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        parse_site(text, "site.yaml")
    return [str(fault) for fault in caught.value.faults]


def test_example_is_read() -> None:
    settings = parse_settings(EXAMPLE, "edge.yaml")
    assert [listener.kind for listener in settings.listeners] == [
        ListenerKind.HTTP,
        ListenerKind.HTTPS,
        ListenerKind.IMAPS,
        ListenerKind.HEALTH,
    ]
    assert settings.listeners[1].listen == HostPort("::", 443)
    assert settings.tls.minimum_version == "1.3"
    assert settings.limits.header_bytes == 8192
    assert settings.notify.sender == "edge@example.com"
    assert settings.upstream[0].url == "http://127.0.0.1:8080"


def test_challenges_keep_their_order_for_the_edge_and_for_a_site() -> None:
    text = "acme: {challenges: [dns-01, http-01]}"
    assert parse_settings(text, "edge.yaml").acme.challenges == ("dns-01", "http-01")
    site = parse_site("host: a.test\nchallenges: [tls-alpn-01]\n", "site.yaml")
    assert site.challenges == ("tls-alpn-01",)
    assert parse_site("host: a.test\n", "site.yaml").challenges is None


def test_empty_file_means_all_defaults() -> None:
    assert parse_settings("", "edge.yaml") == parse_settings("# nothing\n", "edge.yaml") == Settings()


def test_upstream_may_be_verified_for_a_name_or_an_address() -> None:
    text = "upstream:\n  - {url: 'https://a.b', name: Mail.C.d}\n  - {url: 'https://a.b', name: '2001:DB8::1'}\n"
    assert [each.name for each in parse_settings(text, "edge.yaml").upstream] == ["mail.c.d", "2001:db8::1"]


def test_site_is_read_and_its_names_are_normalised() -> None:
    site = parse_site("host: Webmail.Bücher.example.\nadditional_names: ['*.bücher.example']\n", "site.yaml")
    assert site == SiteSettings(host="webmail.xn--bcher-kva.example", additional_names=("*.xn--bcher-kva.example",))
    assert parse_site("host: a.example\ncertificate: acme\n", "site.yaml").certificate is Source.ACME


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(
            "listners: []\n",
            "edge.yaml:1: listners: unknown key; did you mean listeners?; allowed: store, upstream, workers, listeners",
            id="a misspelt key suggests the nearest and lists all",
        ),
        pytest.param(
            "admin:\n  public_host: https://a.b\n",
            "edge.yaml:2: admin.public_host: 'https://a.b' is not a host name",
            id="a URL where a host is meant",
        ),
        pytest.param(
            "upstream: {url: 'http://a.b', name: c.d}\n",
            "edge.yaml:1: upstream: `name` is only for https:// servers: no other shows a certificate",
            id="a name that nothing shows",
        ),
        pytest.param(
            "upstream: {url: 'https://a.b', name: mail..c.d}\n",
            "edge.yaml:1: upstream.name: 'mail..c.d' is not a host name",
            id="a name that no certificate can cover",
        ),
        pytest.param("x:\n  y: 1\n", "edge.yaml:1: x: unknown key; allowed: store", id="a far key suggests nothing"),
        pytest.param(
            "limits:\n  header_byte: 1\n",
            "edge.yaml:2: limits.header_byte: unknown key; did you mean header_bytes?; allowed: header_bytes,",
            id="a misspelt key below lists that model's keys",
        ),
        pytest.param(
            "listeners:\n  - {kind: https, listen: 443}\n",
            "edge.yaml:2: listeners[0].listen: found 443; allowed: host:port, for example 127.0.0.1:8080",
            id="an address is more than a port",
        ),
        pytest.param(
            "listeners:\n  - kind: imax\n    listen: ':143'\n",
            "edge.yaml:2: listeners[0].kind: found 'imax'; allowed: 'http', 'https', 'imap'",
            id="a choice lists the choices",
        ),
        pytest.param(
            "listeners:\n  - kind: http\n    listen: localhost\n",
            "edge.yaml:3: listeners[0].listen: found 'localhost'; allowed: host:port, for example 127.0.0.1:8080",
            id="an address shows how one is written",
        ),
        pytest.param(
            "listeners:\n  - listen: ':80'\n",
            "edge.yaml:2: listeners[0].kind: this key is required",
            id="a missing key has the line of its list item",
        ),
        pytest.param(
            "listeners:\n  - {kind: http, listen: ':80'}\n  - {kind: imap, listen: ':143'}\n",
            "edge.yaml:3: listeners[1]: a listener of kind imap needs `upstream: host:port`",
            id="keys that do not go together",
        ),
        pytest.param(
            "listeners:\n  - {kind: lmtp, listen: ':25', upstream: '127.0.0.1:1024'}\n",
            "edge.yaml:2: listeners[0]: LMTP must not be used on port 25 (RFC 2033); its usual port is 24",
            id="LMTP on the port of SMTP",
        ),
        pytest.param(
            "workers: many\n", "edge.yaml:1: workers: found 'many'; allowed: 'auto' or a whole number", id="union"
        ),
        pytest.param(
            "limits: {idle_seconds: .inf}\n",
            "edge.yaml:1: limits.idle_seconds: found inf; allowed: at most 1000000",
            id="a time without an end",
        ),
        pytest.param(
            "acme:\n  challenges: [http-01, tls-sni-01]\n",
            "edge.yaml:2: acme.challenges[1]: found 'tls-sni-01'; allowed: 'http-01', 'tls-alpn-01', 'dns-01'",
            id="a challenge that does not exist",
        ),
        pytest.param("acme:\n  challenges: []\n", "edge.yaml:2: acme.challenges: list at least one", id="no challenge"),
        pytest.param(
            "acme:\n  challenges: [dns-01, dns-01]\n",
            "edge.yaml:2: acme.challenges: list at least one of http-01,",
            id="a challenge twice",
        ),
        pytest.param("workers: 0\n", "edge.yaml:1: workers: found 0; allowed: 'auto' or at least 1", id="a bound"),
        pytest.param(
            "tls:\n  minimum_version: 1.2\n",
            "edge.yaml:2: tls.minimum_version: found 1.2; allowed: '1.2' or '1.3' (in quotes)",
            id="a number where a text is meant says quotes",
        ),
        pytest.param(
            "limits:\n", "edge.yaml:1: limits: no value is given; allowed: keys with values", id="an empty value"
        ),
        pytest.param(
            "limits: 3\n", "edge.yaml:1: limits: found 3; allowed: keys with values", id="a number for a mapping"
        ),
        pytest.param(
            "http: {http2: maybe}", "edge.yaml:1: http.http2: found 'maybe'; allowed: true or false", id="a truth"
        ),
        pytest.param(
            "trusted_proxies: [10.0.0.0/99]",
            "edge.yaml:1: trusted_proxies[0]: found '10.0.0.0/99'; allowed: an address or a network, such as",
            id="a network says so once though two kinds are allowed",
        ),
        pytest.param(
            "upstream: ftp://x\n",
            "edge.yaml:1: upstream: found 'ftp://x'; allowed: http://host:port or https://host:port, without",
            id="an upstream as text",
        ),
        pytest.param(
            "upstream:\n  - http://a\n  - url: http://b\n    helth: /\n",
            "edge.yaml:4: upstream[1].helth: unknown key; did you mean health?; allowed: url, ca_file",
            id="an upstream in long form in a list",
        ),
        pytest.param(
            "upstream:\n  url: http://b\n  helth: /\n",
            "edge.yaml:3: upstream.helth: unknown key; did you mean health?",
            id="an upstream in long form alone",
        ),
        pytest.param(
            "store: a\nstore: b\n", "edge.yaml:2: store: this key is there twice (the first is in line 1)", id="twice"
        ),
        pytest.param("- a\n", "edge.yaml:1: found a list instead of keys with values", id="a list at the top"),
        pytest.param("text\n", "edge.yaml:1: found a single value instead of keys with values", id="a word at the top"),
        pytest.param("a: [\n", "edge.yaml:2: ", id="broken YAML has its line"),
        pytest.param("store: \x00", "edge.yaml: there is a character", id="what has no line has none"),
    ],
)
def test_fault_names_file_line_key_value_and_what_is_allowed(text: str, said: str) -> None:
    (fault,) = faults_of(text)
    assert fault.startswith(said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("", "1: host: this key is required", id="an empty file"),
        pytest.param("host: a b\n", "1: host: 'a b' is not a host name", id="no host name"),
        pytest.param("host: 12.5\n", "1: host: found 12.5; allowed: a host name", id="a number"),
        pytest.param("host: '*.a.b'\n", "1: host: '*.a.b' is a wildcard", id="a wildcard as host"),
        pytest.param(
            "host: a.b\nadditional_names: c.d\n",
            "2: additional_names: found 'c.d'; allowed: a list",
            id="a text where a list is meant",
        ),
        pytest.param("host: a.b\nadditional_names: [c d]\n", "2: additional_names: 'c d' is not", id="a bad name"),
        pytest.param("host: a.b\ncertificate: fiel\n", "2: certificate: found 'fiel'; allowed: 'file'", id="a source"),
        pytest.param(
            "host: a.b\ncertificate: acme\nadditional_names: ['*.b']\n",
            "1: *.b: this wildcard can't be ordered, as anybody may register names below b",
            id="a wildcard with ACME",
        ),
        pytest.param("host: a.b\nchallenges: []\n", "2: challenges: list at least one", id="no challenge"),
        pytest.param("host: a.b\ninspct: true\n", "2: inspct: unknown key; did you mean inspect?", id="a misspelt key"),
    ],
)
def test_site_fault(text: str, said: str) -> None:
    (fault,) = site_faults_of(text)
    assert fault.startswith(f"site.yaml:{said}")


def test_all_faults_of_a_file_come_together_in_the_order_of_their_lines() -> None:
    found = faults_of("workers: x\nlimits: {header_bytes: 3, header_bytes: 9999}\nhtpp: {}\nsweep_seconds: 0\n")
    assert [fault.split(":")[1] for fault in found] == ["1", "2", "2", "3", "4"]


def test_error_carries_its_faults_and_shows_them_all() -> None:
    with pytest.raises(SettingsError) as caught:
        parse_settings("store: a\nworkers: many\nhtpp: 1\n", "/etc/edge.yaml")
    error = caught.value
    first = error.faults[0]
    assert (first.file, first.line, first.key, first.value) == ("/etc/edge.yaml", 2, "workers", "'many'")
    assert first.allowed == "'auto' or a whole number"
    assert str(error) == "\n".join(map(str, error.faults))
    assert len(error.faults) == 2


def test_value_under_an_unknown_key_is_not_repeated() -> None:
    (fault,) = faults_of("notify: {smtp: {host: mail.example.com, password: correct-horse}}\n")
    assert "did you mean password_file?" in fault
    assert "correct-horse" not in fault


def test_long_value_is_cut() -> None:
    (fault,) = faults_of(f"workers: {'x' * 10_000}\n")
    assert len(fault) < 300


def parsed_or_error(parse: Callable[[str, str], object], text: str) -> SettingsError | None:
    try:
        parse(text, "file")
    except SettingsError as error:
        return error
    return None


@given(st.text(max_size=200))
def test_any_text_is_settings_or_an_error_with_faults(text: str) -> None:
    for parse in (parse_settings, parse_site):
        error = parsed_or_error(parse, text)
        assert error is None or error.faults


SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["auto", ":80"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["kind", "listen", "url", "host", "smtp", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)


# A truth value among networks is taken for a number by the standard library, which warns.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@given(st.sampled_from([*Settings.model_fields, "from", "x"]), VALUES)
def test_any_value_under_any_key_is_settings_or_an_error_with_a_line(key: str, value: object) -> None:
    error = parsed_or_error(parse_settings, yaml.safe_dump({key: value}, allow_unicode=True))
    assert error is None or all(fault.line is not None for fault in error.faults)
