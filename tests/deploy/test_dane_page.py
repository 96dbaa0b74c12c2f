"""deploy/dane tells the truth: OpenSSL accepts the edge by the digest that `cert show` prints, and only by that; and a
policy of MTA-STS arrives from a web server behind.
"""

import http.client
import re
import socket
import ssl
import subprocess
from pathlib import Path

import pytest

from tests.certificates import CertificateAuthority
from tests.certstore.cli.command import certedge
from tests.deploy.test_cluster_page import resolve
from tests.peers import require_peer
from tests.peers.recorder import Recorder, answering, ok
from tests.running import Site, running_edge

PAGE = (Path(__file__).parents[2] / "deploy/dane/README.md").read_text()
COMMANDS = [found.split() for found in re.findall(r"(?:^|`)certedge ([a-z][^`\n#]*)", PAGE, re.MULTILINE)]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_command_on_the_page_exists_with_its_options(words: list[str]) -> None:
    command, rest = resolve(words)
    assert not hasattr(command, "commands"), f"certedge {' '.join(words)} is not a command"
    known = {option for parameter in command.params for option in parameter.opts}
    known |= {option for parameter in command.params for option in parameter.secondary_opts}
    assert {word for word in rest if word.startswith("--")} <= known


def s_client(port: int, digest: str) -> subprocess.CompletedProcess[str]:
    """The page's command, for another port and digest, with TLS from the first byte."""
    (line,) = re.findall(r"^openssl s_client .*$", PAGE, re.MULTILINE)
    line = line.replace("mail.example.com:25 -starttls smtp", f"127.0.0.1:{port}")
    line = line.replace("mail.example.com", "edge.test").replace("DIGEST", digest)
    return subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.peer
def test_openssl_accepts_the_edge_by_the_digest_that_cert_show_prints(tmp_path: Path) -> None:
    require_peer("openssl")
    settings = {"listeners": [{"kind": "https"}], "upstream": "http://127.0.0.1:9"}
    main = CertificateAuthority().issue("edge.test")
    with running_edge(tmp_path, settings, {"main": main}) as edge:
        shown = certedge(tmp_path, "cert", "show", "main", "--json")
        assert shown.code == 0, shown.err
        digest = shown.json["certificates"][0]["tlsa_3_1_1"]
        accepted = s_client(edge.port("https"), digest)
        assert "Verification: OK" in accepted.stdout, accepted.stdout + accepted.stderr
        assert "DANE TLSA 3 1 1" in accepted.stdout
        refused = s_client(edge.port("https"), "00" * 32)
        assert "Verification: OK" not in refused.stdout
        assert refused.returncode != 0


def test_a_policy_of_mta_sts_is_served_under_the_domain_s_own_name(tmp_path: Path) -> None:
    """By a certificate for that name, as senders verify it (RFC 8461 section 3.3)."""
    (policy,) = re.findall(r"^```\n(version: STSv1\n.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert "mx: mail.example.com\n" in policy
    assert "_25._tcp.mail.example.com." in PAGE, "one host for both"
    ca, name = CertificateAuthority(), "mta-sts.client-a.test"
    with Recorder(answering(ok(policy.encode()))) as web:
        sites = {name: Site(ca.issue(name), {"upstream": web.url})}
        with running_edge(tmp_path, {"listeners": [{"kind": "https"}]}, sites) as edge:
            context = ssl.create_default_context(cadata=ca.root_pem.decode())
            plain = socket.create_connection(("127.0.0.1", edge.port("https")), timeout=60)
            connection = http.client.HTTPConnection(name)
            connection.sock = context.wrap_socket(plain, server_hostname=name)
            connection.request("GET", "/.well-known/mta-sts.txt")
            response = connection.getresponse()
            assert (response.status, response.read().decode()) == (200, policy)
            connection.close()
