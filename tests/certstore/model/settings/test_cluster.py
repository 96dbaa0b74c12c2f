"""`cluster:` in edge.yaml."""

from pathlib import Path

import pytest

from certstore.model.settings.cluster import ClusterSettings
from certstore.model.settings.loading import SettingsError, parse_settings

ENOUGH = "engine: [https://10.0.0.11:2379], ca_file: engine-ca.pem, client_cert: engine.pem"


def cluster(text: str) -> ClusterSettings:
    settings = parse_settings(f"cluster: {{{text}}}\n", "edge.yaml").cluster
    assert settings is not None
    return settings


def test_without_the_section_a_node_is_alone() -> None:
    assert parse_settings("", "edge.yaml").cluster is None


def test_a_section_is_read() -> None:
    settings = cluster(
        "node: Edge-A, engine: ['https://10.0.0.11:2379', 'https://etcd.example', 'https://[2001:db8::1]:23790/'],"
        "ca_file: ca.pem, username: edge-a, password_file: /run/engine, addresses: [192.0.2.1, Edge.Example.com],"
        "only: [main, mail.example.com]"
    )
    assert settings.node == "edge-a"
    assert settings.engine == ("https://10.0.0.11:2379", "https://etcd.example:2379", "https://[2001:db8::1]:23790")
    assert settings.password_file == Path("/run/engine")
    assert settings.addresses == ("192.0.2.1", "edge.example.com")
    assert settings.only == ("main", "mail.example.com")


def test_little_is_enough() -> None:
    settings = cluster(ENOUGH)
    assert (settings.node, settings.key_file, settings.addresses, settings.only) == (None, None, (), ())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("node: edge_a", "cluster.node: found 'edge_a'; allowed: a label of a host", id="an underscore"),
        pytest.param("node: a.b", "cluster.node: found 'a.b'; allowed: a label", id="a name with a dot"),
        pytest.param("node: [a]", "cluster.node", id="a list as name"),
        pytest.param("engine: []", "cluster.engine: found a list; allowed: at least one", id="no member"),
        pytest.param("engine: ['http://a:2379']", "cluster.engine[0]: found 'http://a:2379'; allowed: h", id="http"),
        pytest.param("engine: ['https://a:2379/v3']", "cluster.engine[0]: found", id="a path"),
        pytest.param("engine: ['https://a:x']", "cluster.engine[0]: found", id="no port"),
        pytest.param("engine: ['https://u:p@a']", "cluster.engine[0]: found", id="a user in the address"),
        pytest.param("engine: ['https://a', 'https://a:2379']", "cluster.engine: names a member twice", id="twice"),
        pytest.param("client_cert: null", "cluster: the engine has to know who asks", id="nobody signs in"),
        pytest.param("username: edge-a", "cluster: `username` and `password_file` belong", id="no password"),
        pytest.param("password_file: a", "cluster: `username` and `password_file` belong", id="no user"),
        pytest.param("only: [../x]", "cluster.only[0]: found '../x'; allowed: the key of a site", id="not a site"),
        pytest.param("addresses: [a b]", "cluster.addresses[0]: 'a b' is not a host name", id="not an address"),
        pytest.param("role: front", "cluster.role: unknown key", id="an unknown key"),
    ],
)
def test_what_is_wrong_is_said(text: str, said: str) -> None:
    settings = dict(part.split(": ", 1) for part in ENOUGH.split(", "))
    key, _, value = text.partition(": ")
    settings[key] = value
    written = "".join(f"  {key}: {value}\n" for key, value in settings.items())
    with pytest.raises(SettingsError) as caught:
        parse_settings(f"cluster:\n{written}", "edge.yaml")
    (fault,) = caught.value.faults
    assert str(fault).partition(": ")[2].startswith(said)


def test_the_authority_of_the_engine_has_to_be_named() -> None:
    with pytest.raises(SettingsError, match=r"cluster\.ca_file: this key is required"):
        cluster("engine: [https://10.0.0.11:2379], client_cert: engine.pem")
