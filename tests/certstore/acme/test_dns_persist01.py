"""dns-persist-01: records in a real BIND, and a CA of the tests that validates by them."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from certstore.acme.account import Account, Accounts, AccountSettings
from certstore.acme.challenge_kind import ChallengeKind, ChallengeKinds, ProbeContext
from certstore.acme.dns_persist01 import TYPE, account_of, dns_persist01
from certstore.acme.issue import Issuer
from certstore.acme.network import Conversation, OrderFailed
from certstore.acme.order_context import OrderContext
from certstore.acme.order_journal import OrderJournal, OrderRequest
from certstore.model.certificate.x509_facts import read_pem
from certstore.model.layout import Layout
from certstore.model.renewal.ca import find_ca
from certstore.model.renewal.failure import Cause
from certstore.model.renewal.preflight_facts import PreflightFinding, Severity
from certstore.model.renewal.standing_record import record_name, record_value
from certstore.net.lanes import Budget
from tests.certstore.acme.dns.zone_scene import zones_of
from tests.certstore.acme.workshop import make_layout
from tests.peers.bind import Bind
from tests.peers.standing_ca import ISSUER, StandingCa

pytestmark = pytest.mark.peer

APEX, WILDCARD = "client-a.test", "*.client-a.test"


@pytest.fixture
def bind() -> Iterator[Bind]:
    with Bind({APEX: []}) as running:
        yield running


class Shop:
    def __init__(self, folder: Path, bind: Bind, ca: StandingCa) -> None:
        self.layout: Layout = make_layout(folder)
        self.bind, self.ca = bind, ca
        self.kind: ChallengeKind = dns_persist01(zones_of(bind))
        self.conversation = Conversation.begin(ca.directory, ca_file=ca.ca_file)
        settings = AccountSettings(agrees_to_terms=True)
        self.account: Account = Accounts(self.layout).ensure(find_ca(ca.directory), self.conversation, settings)

    def put_record(self, name: str) -> None:
        """As a person does who reads the preflight."""
        self.bind.add_text(APEX, record_name(name), self.value(name))

    def value(self, name: str) -> str:
        finding = self.probe(name)
        assert finding is not None
        return finding.remedy.partition('TXT "')[2].removesuffix('"')

    def probe(self, name: str) -> PreflightFinding | None:
        context = ProbeContext(
            zones_of(self.bind).resolver,
            (ISSUER,),
            self.account.url,
            self.conversation.standing,
            account_of(self.account),
        )
        with self.kind.probing(context) as look:
            findings = look(name, (), Budget(20)).findings
        return findings[0] if findings else None

    def order(self, *names: str) -> set[str]:
        context = OrderContext(
            OrderJournal(self.layout),
            ChallengeKinds(self.kind),
            lambda seconds: False,
            ways=dict.fromkeys(names, (TYPE,)),
        )
        request = OrderRequest(names[0], "ca", names, "ec256")
        with closing(self.account.sign_in(self.conversation)) as own:
            files = Issuer(own, self.account, context).issue(request)
        return set(read_pem(files[1].content)[0].dns_names)


@pytest.fixture(params=[True, False], ids=["draft -02", "draft -01"])
def shop(request: pytest.FixtureRequest, tmp_path: Path, bind: Bind) -> Iterator[Shop]:
    with StandingCa((bind.host, bind.port), is_hashed=request.param) as ca:
        made = Shop(tmp_path, bind, ca)
        yield made
        made.conversation.close()


def test_the_record_that_the_preflight_shows_is_the_one_that_the_ca_accepts(shop: Shop) -> None:
    shop.put_record(WILDCARD)
    assert shop.probe(WILDCARD) is None
    assert shop.probe(APEX) is None
    assert shop.probe(f"www.{APEX}") is None, "the policy covers names below"
    before = shop.bind.texts(record_name(APEX))
    assert shop.order(APEX, WILDCARD) == {APEX, WILDCARD}
    assert shop.order(APEX, WILDCARD) == {APEX, WILDCARD}
    assert shop.bind.texts(record_name(APEX)) == before, "it stays"


def test_without_the_record_the_ca_is_not_asked(shop: Shop) -> None:
    with pytest.raises(OrderFailed) as failed:
        shop.order(APEX)
    failure = failed.value.failure
    assert (failure.cause, failure.names) == (Cause.SETTINGS, (APEX,))
    assert failure.detail == f"could not prove {APEX} by {TYPE}: there is no TXT record at _validation-persist.{APEX}"
    assert shop.ca.refused == []


def test_a_record_of_the_host_alone_does_not_prove_the_wildcard(shop: Shop) -> None:
    shop.put_record(APEX)
    assert shop.probe(APEX) is None
    finding = shop.probe(WILDCARD)
    assert finding is not None
    assert finding.severity is Severity.FATAL
    assert "it lacks policy=wildcard" in finding.message
    assert shop.order(APEX) == {APEX}


def test_another_accounts_record_is_told_apart(shop: Shop) -> None:
    assert shop.conversation.standing or not shop.ca.is_hashed
    shop.bind.add_text(APEX, record_name(APEX), f"{ISSUER}; accounturi=https://localhost/acct/somebody")
    finding = shop.probe(APEX)
    assert finding is not None
    assert "it is for another account" in finding.message


def test_the_value_hides_the_account_where_the_ca_asks_for_that(shop: Shop) -> None:
    assert (shop.account.url in shop.value(APEX)) is not shop.ca.is_hashed
    if shop.conversation.standing is not None:
        assert shop.value(APEX) == record_value(APEX, shop.conversation.standing, account_of(shop.account))


def test_without_an_account_the_preflight_says_to_register(shop: Shop) -> None:
    with shop.kind.probing(ProbeContext(zones_of(shop.bind).resolver, (ISSUER,))) as look:
        [finding] = look(APEX, (), Budget(10)).findings
    assert finding.severity is Severity.DOUBTFUL
    assert "certedge account register" in finding.remedy


def test_a_challenge_without_issuers_is_refused(shop: Shop) -> None:
    with pytest.raises(ValueError, match="can't be used: a CA has to name 1 to 10"):
        shop.kind.read(APEX, {"type": TYPE, "issuerDomainNames": []}, shop.account)
