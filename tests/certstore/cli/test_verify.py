"""Against a real `certedge run` with a real Dovecot behind its mail listeners."""

import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from certstore.model.layout import Layout
from tests.certificates import CertificateAuthority, Issued
from tests.certstore.cli.command import Ran, add_site, certedge, install, write_edge
from tests.deadlines import wait_for
from tests.peers.dovecot import running_dovecot
from tests.ports import free_port
from tests.running import MAIN_HOST, RunningEdge, Site, running_edge

OWN, PAIR, WITHOUT = "webmail.client-a.test", "webmail.client-b.test", "webmail.client-c.test"
LATE = "webmail.client-d.test"
CA = CertificateAuthority()

pytestmark = pytest.mark.peer


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEdge]:
    certificate = CA.issue(MAIN_HOST)
    with running_dovecot(certificate) as dovecot:
        mail = {"proxy_protocol": "v2"}
        settings = {
            "listeners": [
                {"kind": "http"},
                {"kind": "https"},
                {"kind": "health"},
                {"kind": "imaps", "upstream": f"127.0.0.1:{dovecot.ports.imap}", **mail},
                {"kind": "imap", "upstream": f"127.0.0.1:{dovecot.ports.imap}", **mail},
                {"kind": "pop3", "upstream": f"127.0.0.1:{dovecot.ports.pop3}", **mail},
                {"kind": "sieve", "upstream": f"127.0.0.1:{dovecot.ports.sieve}", **mail},
                {"kind": "lmtp", "upstream": f"127.0.0.1:{dovecot.ports.lmtp_proxied}", **mail},
                {"kind": "https", "accept_proxy_protocol": True},
            ],
            "trusted_proxies": ["127.0.0.0/8"],
        }
        own = CA.issue(OWN)
        sites: dict[str, Issued | Site] = {"main": certificate, OWN: own, WITHOUT: Site(settings={"host": WITHOUT})}
        with running_edge(tmp_path_factory.mktemp("verify"), settings, sites) as edge:
            wait_for(lambda: edge.fingerprint("https", OWN) == own.fingerprint, "the domain's certificate")
            yield edge


def verify(edge: RunningEdge, *words: str) -> Ran:
    return certedge(edge.folder, "verify", *words)


def test_an_edge_that_serves_its_store_is_found_right_on_every_listener(edge: RunningEdge) -> None:
    ran = verify(edge, "--json")
    checks = ran.json["checks"]
    assert ran.code == 0, ran.out
    mail = {"imaps", "imap", "pop3", "sieve", "lmtp"}
    assert {check["kind"] for check in checks} == {"http", "https", "health", *mail}
    asked = {(check["kind"], check["server_name"]): check for check in checks}
    assert asked["https", OWN]["certificate"] == OWN
    assert asked["https", OWN]["served_fingerprint"] == asked["https", OWN]["fingerprint"]
    for kind in mail:
        assert [check["certificate"] for check in checks if check["kind"] == kind] == ["main"]
    assert asked["https", None]["certificate"] == asked["https", WITHOUT]["certificate"] == "main"


def test_one_site_is_verified_together_with_main(edge: RunningEdge) -> None:
    checks = verify(edge, "--site", OWN, "--json").json["checks"]
    assert {check["server_name"] for check in checks if check["kind"] == "https"} == {None, MAIN_HOST, OWN}


def test_an_unknown_site_is_reported(edge: RunningEdge) -> None:
    ran = verify(edge, "--site", "nowhere.test")
    assert ran.code == 1
    assert "there is no site 'nowhere.test'" in ran.err
    assert f"did you mean {OWN}?" in verify(edge, "--site", f"{OWN}x").err


def test_a_note_says_that_no_service_runs_if_nothing_answers(tmp_path: Path) -> None:
    listener = {"kind": "https", "listen": f"127.0.0.1:{free_port()}"}
    write_edge(tmp_path, {"listeners": [listener]})
    add_site(tmp_path, OWN)
    ran = certedge(tmp_path, "verify")
    assert ran.code == 3
    assert ran.out.endswith(" wrong\nnote: no service runs on this store (start it with certedge run)\n")


def test_plain_output_has_a_line_for_each_check_and_a_sum(edge: RunningEdge) -> None:
    lines = verify(edge).out.splitlines()
    assert lines[0].split() == ["listener", "address", "server", "name", "expected", "result"]
    assert re.fullmatch(rf"{len(lines) - 2} checked in \d+\.\d s, all as in the store", lines[-1])
    assert all(line.endswith("  ok") for line in lines[1:-1])


def test_only_problems_are_shown_on_request(edge: RunningEdge, copied: Path) -> None:
    (line,) = verify(edge, "--problems").out.splitlines()
    assert line.endswith("all as in the store")
    install(copied, OWN, CA.issue(OWN))
    asked = certedge(copied, "verify", "--problems", "--json").json
    assert [check["server_name"] for check in asked["checks"]] == [OWN]
    assert (asked["wrong"], asked["checked"] > 1) == (1, True)


def test_both_families_are_asked(edge: RunningEdge, copied: Path) -> None:
    """The listener is there for IPv4 only."""
    port = edge.port("https")
    (copied / "edge.yaml").write_text(yaml.safe_dump({"listeners": [{"kind": "https", "listen": f"[::]:{port}"}]}))
    checks = certedge(copied, "verify", "--site", OWN, "--json").json["checks"]
    assert {check["asked_at"]: check["problem"] for check in checks} == {
        f"[::1]:{port}": "Connection refused",
        f"127.0.0.1:{port}": None,
    }


@pytest.fixture
def copied(edge: RunningEdge, tmp_path: Path) -> Path:
    """A copy of the store, to be changed, with an edge.yaml that names the https listener of the real one."""
    shutil.copytree(edge.store, tmp_path / "store", symlinks=True, ignore=shutil.ignore_patterns("control.sock"))
    listener = {"kind": "https", "listen": f"127.0.0.1:{edge.port('https')}"}
    (tmp_path / "edge.yaml").write_text(yaml.safe_dump({"listeners": [listener]}))
    return tmp_path


def wrong(ran: Ran) -> dict[str | None, str]:
    """The problems found, by server name."""
    return {check["server_name"]: check["problem"] for check in ran.json["checks"] if not check["ok"]}


def test_a_front_that_missed_a_replacement_is_found_and_the_version_it_serves_named(copied: Path) -> None:
    replaced = CA.issue(OWN)
    install(copied, OWN, replaced)
    ran = certedge(copied, "verify", "--json")
    assert ran.code == 3
    found = wrong(ran)
    assert set(found) == {OWN}
    assert f"it serves version 1; live is version 2 of {OWN} ({replaced.fingerprint[:16]}…)" in found[OWN]
    assert "1 wrong" in certedge(copied, "verify").out


def test_a_certificate_that_the_store_never_had_is_found(copied: Path) -> None:
    (copied / "store/live" / OWN).unlink()
    shutil.rmtree(copied / "store/archive" / OWN)
    install(copied, OWN, CA.issue(OWN))
    assert "it serves another certificate" in wrong(certedge(copied, "verify", "--json"))[OWN]


def test_the_right_certificate_with_another_chain_is_found(copied: Path, edge: RunningEdge) -> None:
    version = Layout(edge.store).live(OWN)
    leaf_alone = (version / "privkey.pem").read_bytes() + (version / "cert.pem").read_bytes()
    (copied / "leaf.pem").write_bytes(leaf_alone)
    for path in (copied / "store/main", copied / "store/archive/main", copied / "store/archive" / OWN):
        shutil.rmtree(path)  # or the chain is completed from there
    (copied / "store/live" / OWN).unlink()
    (copied / "store/live/main").unlink()
    assert certedge(copied, "cert", "install", OWN, "--pem", "leaf.pem", "--force").code == 0
    assert wrong(certedge(copied, "verify", "--json"))[OWN].startswith("the right certificate, but with 1 instead of 0")


def test_an_expired_certificate_is_wrong_even_if_it_is_the_right_one(edge: RunningEdge) -> None:
    end = datetime.now(UTC) - timedelta(days=1)
    expired = CA.issue(LATE, not_before=end - timedelta(days=90), not_after=end)
    add_site(edge.folder, LATE)
    install(edge.folder, LATE, expired)
    wait_for(lambda: edge.fingerprint("https", LATE) == expired.fingerprint, "the expired certificate")
    ran = verify(edge, "--site", LATE, "--json")
    assert ran.code == 3
    assert f"version 1 of {LATE}, as in the store, but it expired on " in wrong(ran)[LATE]
    assert certedge(edge.folder, "site", "remove", LATE, "--yes").code == 0


def test_a_listener_where_nobody_listens_is_a_problem(copied: Path) -> None:
    (copied / "edge.yaml").write_text(f"listeners: [{{kind: https, listen: '127.0.0.1:{free_port()}'}}]\n")
    ran = certedge(copied, "verify", "--site", OWN, "--json")
    assert ran.code == 3
    assert set(wrong(ran).values()) == {"Connection refused"}


def test_a_port_of_the_systems_choice_is_not_guessed(copied: Path) -> None:
    (copied / "edge.yaml").write_text("listeners: [{kind: https, listen: '127.0.0.1:0'}]\n")
    assert "the system chooses its port" in wrong(certedge(copied, "verify", "--json"))[OWN]


def test_settings_without_listeners_are_wrong_usage(copied: Path) -> None:
    (copied / "edge.yaml").write_text("{}\n")
    assert certedge(copied, "verify").code == 2


def test_a_version_with_two_keys_is_asked_for_both(edge: RunningEdge) -> None:
    ec, rsa = CA.issue(PAIR), CA.issue(PAIR, key_type="rsa2048")
    add_site(edge.folder, PAIR)
    install(edge.folder, PAIR, ec, rsa)
    wait_for(lambda: edge.fingerprint("https", PAIR) == ec.fingerprint, "the pair served")
    ran = verify(edge, "--site", PAIR, "--json")
    assert ran.code == 0, ran.out
    served = [
        each["served_fingerprint"]
        for each in ran.json["checks"]
        if each["server_name"] == PAIR and each["listener"] == f"127.0.0.1:{edge.port('https')}"
    ]
    assert served == [ec.fingerprint, rsa.fingerprint]


def test_a_listener_behind_a_balancer_is_asked_as_the_balancer_would(edge: RunningEdge, copied: Path) -> None:
    address = f"127.0.0.1:{edge.port('https', 1)}"
    checks = verify(edge, "--json").json["checks"]
    assert {check["ok"] for check in checks if check["listener"] == address} == {True}
    # Without the header that this listener waits for from a trusted address, there is no handshake to be had.
    (copied / "edge.yaml").write_text(f"listeners: [{{kind: https, listen: '{address}'}}]\n")
    assert certedge(copied, "verify", "--site", OWN).code == 3
