from dataclasses import dataclass, replace

import pytest

from certstore.model.renewal.failure import Cause
from certstore.model.renewal.preflight_facts import (
    Answer,
    CaaFacts,
    DirectoryFacts,
    DirectoryStep,
    Lookup,
    NameFacts,
    PreflightFinding,
    ProbeFacts,
    Severity,
    WayFacts,
)
from certstore.model.renewal.preflight_findings import (
    account_findings,
    directory_findings,
    failure_of,
    fatal_names,
    order_findings,
    way_findings,
)

PUBLIC, PRIVATE, PUBLIC_V6 = "8.8.8.8", "10.1.2.3", "2606:4700::1111"
NO_CAA = CaaFacts(Lookup.NO_DATA)


@dataclass(frozen=True)
class Facts:
    """A name with one way to prove it, by its addresses."""

    name: str
    ipv4: Lookup
    ipv6: Lookup
    probes: tuple[ProbeFacts, ...]
    caa: CaaFacts
    is_whole: bool = True


GOOD = Facts("a.test", Lookup.FOUND, Lookup.NO_DATA, (ProbeFacts(PUBLIC, Answer.OURS),), NO_CAA)
FATAL, DOUBTFUL = Severity.FATAL, Severity.DOUBTFUL


def findings(facts: Facts) -> list[PreflightFinding]:
    way = WayFacts("http-01", facts.probes, is_whole=facts.is_whole)
    return way_findings(NameFacts(facts.name, facts.ipv4, facts.ipv6, facts.caa), way)


def probed(address: str, answer: Answer) -> Facts:
    return replace(GOOD, probes=(ProbeFacts(PUBLIC, Answer.OURS), ProbeFacts(address, answer)))


def test_name_that_leads_here_has_no_findings() -> None:
    assert findings(GOOD) == []


@pytest.mark.parametrize(
    ("facts", "code", "severity"),
    [
        (replace(GOOD, ipv4=Lookup.NO_SUCH_NAME, ipv6=Lookup.NO_SUCH_NAME, probes=()), "no_such_name", FATAL),
        (replace(GOOD, ipv4=Lookup.NO_DATA, probes=()), "no_address", FATAL),
        (replace(GOOD, ipv6=Lookup.SERVER_FAILURE), "dns_server_failure", FATAL),
        (replace(GOOD, ipv4=Lookup.TIMED_OUT, ipv6=Lookup.TIMED_OUT, probes=()), "dns_timed_out", DOUBTFUL),
        (probed(PUBLIC, Answer.WRONG), "address_wrong", FATAL),
        (probed(PUBLIC_V6, Answer.WRONG), "address_wrong", FATAL),
        (probed(PRIVATE, Answer.WRONG), "address_wrong", DOUBTFUL),
        (probed(PRIVATE, Answer.NO_HTTP), "address_wrong", DOUBTFUL),
        (probed(PRIVATE, Answer.REDIRECT_ELSEWHERE), "address_wrong", DOUBTFUL),
        (probed(PRIVATE, Answer.NOT_ASKED), "address_not_asked", DOUBTFUL),
        (replace(GOOD, is_whole=False), "check_unfinished", DOUBTFUL),
        (probed(PUBLIC, Answer.REFUSED), "address_refused", DOUBTFUL),
        (probed(PUBLIC, Answer.TIMED_OUT), "address_timed_out", DOUBTFUL),
        (probed(PUBLIC_V6, Answer.UNREACHABLE), "address_unreachable", DOUBTFUL),
        (probed(PUBLIC, Answer.NO_HTTP), "address_no_http", FATAL),
        (probed(PUBLIC, Answer.REDIRECT_LOOP), "address_redirect_loop", FATAL),
        (probed(PUBLIC, Answer.TOO_MANY_REDIRECTS), "address_too_many_redirects", FATAL),
        (probed(PUBLIC, Answer.REDIRECT_ELSEWHERE), "address_redirect_elsewhere", FATAL),
        (probed(PUBLIC, Answer.REDIRECT_FORBIDDEN), "address_redirect_forbidden", FATAL),
        (replace(GOOD, caa=CaaFacts(Lookup.SERVER_FAILURE)), "caa_server_failure", FATAL),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_fault_has_its_own_finding(facts: Facts, code: str, severity: Severity) -> None:
    (finding,) = findings(facts)
    assert (finding.code, finding.severity, finding.name) == (code, severity, "a.test")
    assert finding.remedy.endswith(".")
    assert "a.test" in finding.message


@pytest.mark.parametrize("address", [PUBLIC, PUBLIC_V6, PRIVATE])
def test_own_address_without_a_listener_is_named_as_such(address: str) -> None:
    """No NAT lies between this server and itself, so there is no doubt."""
    (finding,) = findings(replace(GOOD, probes=(ProbeFacts(address, Answer.REFUSED, is_own=True),)))
    assert (finding.code, finding.severity) == ("address_without_listener", FATAL)
    assert f"{address}, which is this server's" in finding.message
    assert 'listen: "[::]:80"' in finding.remedy


def test_port_that_the_challenge_needs_is_named() -> None:
    facts = replace(GOOD, probes=(ProbeFacts(PUBLIC, Answer.REFUSED, port=443),))
    (finding,) = findings(facts)
    assert "port 443" in finding.message
    assert "port 443" in finding.remedy


def test_one_address_that_could_not_be_asked_for_does_not_hide_the_other() -> None:
    assert findings(replace(GOOD, ipv6=Lookup.TIMED_OUT)) == []


def test_wrong_ipv6_address_alone_is_named() -> None:
    (finding,) = findings(probed(PUBLIC_V6, Answer.WRONG))
    assert PUBLIC_V6 in finding.message
    assert "AAAA" in finding.remedy


@pytest.mark.parametrize("step", [step for step in DirectoryStep if step is not DirectoryStep.DONE])
def test_each_step_towards_the_ca_fails_in_its_own_words(step: DirectoryStep) -> None:
    (finding,) = directory_findings(DirectoryFacts("https://ca.test:14000/dir", step, "seen"))
    assert finding.code == f"directory_{step}"
    assert "ca.test" in finding.message
    assert "seen" in finding.message
    assert finding.severity is FATAL


def test_directory_that_answers_is_no_finding() -> None:
    assert directory_findings(DirectoryFacts("https://ca.test/dir", DirectoryStep.DONE)) == []


@pytest.mark.parametrize(
    ("count", "profile", "is_fine"),
    [(100, None, True), (101, None, False), (26, "classic", True), (25, "tlsserver", True), (26, "shortlived", False)],
)
def test_profile_limits_the_names_of_a_certificate(count: int, profile: str | None, is_fine: bool) -> None:
    assert (order_findings(["x.test"] * count, profile) == []) == is_fine


def test_fatal_findings_become_one_failure_and_doubtful_ones_none() -> None:
    found = [
        *findings(probed(PUBLIC, Answer.REFUSED)),
        *findings(replace(GOOD, name="b.test", ipv4=Lookup.NO_DATA, probes=())),
        *findings(replace(GOOD, name="c.test", ipv4=Lookup.SERVER_FAILURE)),
    ]
    assert fatal_names(found) == {"b.test", "c.test"}
    failure = failure_of(found)
    assert (failure.cause, failure.names) == (Cause.NO_SUCH_NAME, ("b.test", "c.test"))
    assert "a.test" not in failure.detail


@pytest.mark.parametrize(
    ("has_account", "agrees", "has_external", "codes"),
    [
        (False, False, False, ["terms", "external_account"]),
        (False, True, False, ["external_account"]),
        (False, False, True, ["terms"]),
        (False, True, True, []),
        (True, False, False, []),
    ],
)
def test_what_the_first_account_lacks_is_found_before_it_is_registered(
    has_account: bool, agrees: bool, has_external: bool, codes: list[str]
) -> None:
    directory = DirectoryFacts("https://ca.test/", DirectoryStep.DONE, terms="https://ca.test/t")
    directory = replace(directory, needs_external_account=True)
    known = {"has_account": has_account, "agrees_to_terms": agrees, "has_external_account": has_external}
    found = account_findings(directory, **known)
    assert [each.code for each in found] == codes
    assert all(each.severity is FATAL and each.name is None for each in found)
    assert account_findings(DirectoryFacts("https://ca.test/", DirectoryStep.TCP), **known) == []


@pytest.mark.parametrize(
    ("answer", "severity", "words"),
    [
        (Answer.WRONG, Severity.FATAL, "which answers on port 80, without this node's token"),
        (Answer.NO_HTTP, Severity.FATAL, "which answers on port 80, without this node's token"),
        (Answer.TIMED_OUT, Severity.DOUBTFUL, "which does not answer in time on port 80"),
        (Answer.REFUSED, Severity.DOUBTFUL, "which refuses connections on port 80"),
    ],
)
def test_a_node_of_the_cluster_that_does_not_answer_is_named(answer: Answer, severity: Severity, words: str) -> None:
    (finding,) = findings(replace(GOOD, probes=(ProbeFacts(PUBLIC, answer, node="edge-b"),)))
    assert (finding.severity, finding.message) == (
        severity,
        f"a.test has the address {PUBLIC} of the node edge-b, {words}",
    )
    assert "See how edge-b is: certedge cluster status." in finding.remedy
