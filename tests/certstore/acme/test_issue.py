"""Orders at a real Pebble, answered by a responder that reads the store's challenge folder."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from certstore.acme import keys
from certstore.acme.challenge_kind import ChallengeKinds, Proof, Publishing
from certstore.acme.http01 import publish, remove_stale_tokens
from certstore.acme.network import Conversation, OrderFailed
from certstore.acme.order_context import Interrupted
from certstore.acme.order_journal import OrderUnderWay, Part
from certstore.model.certificate.bundle import CertificateBundle, read_bundle
from certstore.model.certificate.dropped_file import DroppedFile
from certstore.model.renewal.failure import Cause
from tests.certstore.acme.workshop import AGREED, Workshop, workshop

pytestmark = pytest.mark.peer


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    with workshop(tmp_path_factory.mktemp("ca")) as made:
        yield made


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """However an order ends, no token is left."""
    yield
    if "shop" in request.fixturenames:
        shop: Workshop = request.getfixturevalue("shop")
        assert shop.tokens() == []
        shop.responder.unhelpful.clear()
        shop.failed.clear()
        shop.told.clear()
        shop.stopping.clear()


def bundle_of(files: list[DroppedFile], *names: str) -> CertificateBundle:
    bundle = read_bundle(files, now=datetime.now(UTC), names=names)
    assert isinstance(bundle, CertificateBundle), bundle
    return bundle


def test_order_gives_key_and_chain_for_every_name(shop: Workshop) -> None:
    with shop.issuer() as issuer:
        bundle = bundle_of(issuer.issue(shop.request("a.test", "b.test", "c.test")), "a.test", "b.test", "c.test")
    assert set(bundle.primary.dns_names) == {"a.test", "b.test", "c.test"}
    assert (bundle.primary.key_kind, bundle.primary.key_bits) == ("ec", 256)
    assert bundle.problems == ()
    assert shop.failed == []
    assert "ordering a.test, b.test, c.test" in shop.told


@pytest.mark.parametrize(("key_type", "kind", "bits"), [("ec384", "ec", 384), ("rsa2048", "rsa", 2048)])
def test_key_is_of_the_kind_that_was_asked_for(shop: Workshop, key_type: str, kind: str, bits: int) -> None:
    with shop.issuer() as issuer:
        bundle = bundle_of(issuer.issue(shop.request(f"{key_type}.test", key_type=key_type)), f"{key_type}.test")
    assert (bundle.primary.key_kind, bundle.primary.key_bits) == (kind, bits)


def test_pair_of_an_ec_and_an_rsa_key_becomes_one_version(shop: Workshop) -> None:
    with shop.issuer() as issuer:
        bundle = bundle_of(issuer.issue(shop.request("pair.test", key_type="ec256+rsa2048")), "pair.test")
    assert bundle.primary.key_kind == "ec"
    assert bundle.rsa is not None
    assert bundle.rsa.dns_names == ("pair.test",)


def test_key_is_new_for_every_order(shop: Workshop) -> None:
    keys = set()
    for _ in range(2):
        with shop.issuer() as issuer:
            keys.add(bundle_of(issuer.issue(shop.request("again.test")), "again.test").primary.privkey_pem)
        shop.journal.remove("again.test")
    assert len(keys) == 2


def test_names_that_fail_are_all_named_and_counted(shop: Workshop) -> None:
    shop.responder.unhelpful = {"bad1.test", "bad2.test"}
    with shop.issuer(context=shop.unchecked()) as issuer, pytest.raises(OrderFailed) as failed:
        issuer.issue(shop.request("good.test", "bad1.test", "bad2.test"))
    assert set(failed.value.failure.names) == {"bad1.test", "bad2.test"}
    assert failed.value.failure.cause is Cause.WRONG_ANSWER
    assert sorted(shop.failed) == ["bad1.test", "bad2.test"]
    assert shop.journal.load("good.test") is None, "a lost order is not resumed"


def test_ca_is_not_asked_while_our_own_listener_does_not_answer(shop: Workshop) -> None:
    shop.responder.unhelpful = {"own.test"}
    shop.responder.asked.clear()
    with shop.issuer() as issuer, pytest.raises(OrderFailed) as failed:
        issuer.issue(shop.request("own.test"))
    assert failed.value.failure.cause is Cause.OWN_LISTENER
    assert "404" in failed.value.failure.detail
    assert [host for host, _ in shop.responder.asked] == ["own.test"], "we looked, the CA did not"
    shop.responder.unhelpful.clear()
    orders = shop.ordered
    with shop.issuer() as issuer:
        bundle_of(issuer.issue(shop.request("own.test")), "own.test")
    assert shop.ordered == orders, "and the order that waited was used"


def test_order_interrupted_anywhere_is_resumed_and_not_made_again(shop: Workshop) -> None:
    """Stopped at each of its pauses and after each of its steps: one order at the CA, one certificate."""
    request = shop.request("interrupted.test")
    shop.ordered = 0
    interruptions = 0
    for step in range(40):
        steps = iter(range(step))

        def stop_or_go(message: str, steps: Iterator[int] = steps) -> None:
            if next(steps, None) is None:
                raise Interrupted

        try:
            with shop.issuer(context=replace(shop.context(), tell=stop_or_go)) as issuer:
                files = issuer.issue(request)
        except Interrupted:
            interruptions += 1
            assert shop.tokens() == []
            continue
        bundle_of(files, "interrupted.test")
        break
    else:
        pytest.fail("it was never finished")
    assert interruptions >= 3
    assert shop.ordered == 1


def test_certificate_that_was_issued_before_the_kill_is_fetched_not_ordered(shop: Workshop) -> None:
    request = shop.request("fetched.test")
    shop.ordered = 0
    with shop.issuer() as issuer:
        first = bundle_of(issuer.issue(request), "fetched.test")
    order = shop.journal.load("fetched.test")
    assert order is not None, "the caller removes it once the certificate is in the store"
    shop.journal.keep(order.with_part(replace(order.parts[0], fullchain=None)))
    with shop.issuer() as issuer:
        again = bundle_of(issuer.issue(request), "fetched.test")
    assert again.primary.fingerprint == first.primary.fingerprint
    assert shop.ordered == 1


@pytest.mark.parametrize("what", ["url", "age", "names"])
def test_order_that_is_no_use_any_more_is_begun_anew(shop: Workshop, what: str) -> None:
    site = f"stale-{what}.test"
    request = shop.request(site)
    with shop.issuer() as issuer:
        issuer.issue(request)
    order = shop.journal.load(site)
    assert order is not None
    changed: OrderUnderWay = {
        "url": order.with_part(
            replace(order.parts[0], url=f"{shop.pebble.directory[:-3]}my-order/gone", fullchain=None)
        ),
        "age": replace(order, begun_at=order.begun_at - timedelta(days=2)),
        "names": replace(order, request=replace(order.request, names=(site, "gone.test"))),
    }[what]
    shop.journal.keep(changed)
    shop.ordered = 0
    with shop.issuer() as issuer:
        bundle = bundle_of(issuer.issue(request), site)
    assert bundle.primary.dns_names == (site,)
    assert shop.ordered == 1


def test_request_to_stop_waits_for_the_verdict_once_the_ca_looks(shop: Workshop) -> None:
    """A token withdrawn while the CA looks would be a failed validation, of which few are allowed per hour."""
    shop.ordered = 0
    told: list[str] = []
    asked: list[str] = []

    def stop_when_the_ca_asks(host: str, token: str) -> bool:
        asked.append(token)
        if len(asked) > 1:  # the first is the self-check
            shop.stopping.set()
        return False

    request = shop.request("stopped.test")
    shop.responder.is_moody = stop_when_the_ca_asks
    with shop.issuer(context=replace(shop.context(), tell=told.append)) as issuer, pytest.raises(Interrupted):
        issuer.issue(request)
    shop.responder.is_moody = lambda host, token: False
    assert "stopped.test: the CA has validated it by http-01" in told
    shop.stopping.clear()
    with shop.issuer() as issuer:
        bundle_of(issuer.issue(request), "stopped.test")
    assert (shop.ordered, shop.failed) == (1, [])


def test_order_whose_proof_a_kill_spoilt_is_begun_anew_and_no_failure(shop: Workshop) -> None:
    request = shop.request("spoilt.test")
    shop.responder.unhelpful = {"spoilt.test"}
    with shop.issuer(context=shop.unchecked()) as issuer, pytest.raises(OrderFailed):
        issuer.issue(request)
    spoilt = [line for line in shop.pebble.log.splitlines() if "Added order" in line][-1].split('"')[1]
    shop.responder.unhelpful.clear()
    with shop.issuer() as issuer:
        issuer.issue(shop.request("donor.test"))
    donor = shop.journal.load("donor.test")
    assert donor is not None
    url = f"{shop.pebble.directory.removesuffix('/dir')}/my-order/{spoilt}"
    part = replace(donor.parts[0], url=url, fullchain=None)
    shop.journal.keep(OrderUnderWay(request, datetime.now(UTC), (part,)))
    shop.failed.clear()
    with shop.issuer() as issuer:
        bundle_of(issuer.issue(request), "spoilt.test")
    assert shop.failed == []


def test_tokens_that_a_kill_left_for_an_order_stay_until_it_is_settled(shop: Workshop) -> None:
    """The CA may be looking at them now, and a token withdrawn meanwhile is a failed validation."""
    request, token, thumbprint = shop.request("killed.test"), "a" * 43, "c" * 43
    kept, stale = (Proof("killed.test", each, f"{each}.{thumbprint}") for each in (token, "b" * 43))
    publish(shop.layout, [kept, stale])
    part = Part("ec256", keys.to_pem(keys.make_key("ec256")))
    shop.journal.keep(OrderUnderWay(request, datetime.now(UTC), (part,), (kept,)))
    assert remove_stale_tokens(shop.layout, [thumbprint], shop.journal.published()) == 1
    assert [path.name for path in shop.tokens()] == [token]
    shown: list[bool] = []

    def tell(_: str) -> None:
        shown.append(token in [path.name for path in shop.tokens()])

    with shop.issuer(context=replace(shop.context(), tell=tell)) as issuer:
        issuer.issue(request)
    assert shown
    assert all(shown)
    assert shop.tokens() == []


def test_proofs_are_in_the_journal_before_they_are_published(shop: Workshop) -> None:
    request = shop.request("shown.test")
    seen: list[tuple[list[Proof], tuple[Proof, ...]]] = []

    def publish_noting(proofs: Sequence[Proof], publishing: Publishing) -> None:
        order = shop.journal.load("shown.test")
        assert order is not None
        seen.append((list(proofs), order.published))
        shop.kind.publish(proofs, publishing)

    kinds = ChallengeKinds(replace(shop.kind, publish=publish_noting))
    with shop.issuer(context=replace(shop.context(), kinds=kinds)) as issuer:
        issuer.issue(request)
    ((published, known),) = seen
    assert published
    assert tuple(published) == known
    order = shop.journal.load("shown.test")
    assert order is not None
    assert order.published == ()
    assert shop.tokens() == []


@pytest.mark.parametrize("what", ["chalZ", "finalize-order"])
def test_request_of_a_killed_process_that_comes_first_spoils_nothing(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """The CA refuses the second of two such requests (unless it has looked already), and the order goes on."""
    post, refused, tried = Conversation.post, [], []

    def twice(self: Conversation, url: str, *args: Any, **facts: Any) -> Any:
        if what in url:
            post(self, url, *args, **facts)
            tried.append(url)
            try:
                return post(self, url, *args, **facts)
            except OrderFailed as failed:
                refused.append(failed)
                raise
        return post(self, url, *args, **facts)

    # What a killed process published stays until the order ends: a CA that was asked twice may look twice.
    monkeypatch.setattr("certstore.acme.http01.withdraw", lambda *_: None)
    monkeypatch.setattr(Conversation, "post", twice)
    shop.ordered = 0
    site = f"twice-{what.lower()}.test"
    with shop.issuer() as issuer:
        bundle_of(issuer.issue(shop.request(site)), site)
    for token in shop.tokens():
        token.unlink()
    assert tried
    assert refused or what == "chalZ"
    assert (shop.ordered, shop.failed) == (1, [])


def test_journal_is_for_its_owner_alone_and_shows_no_key(shop: Workshop) -> None:
    with shop.issuer() as issuer:
        issuer.issue(shop.request("private.test"))
    path = shop.layout.order("private.test")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert "PRIVATE" not in repr(shop.journal.load("private.test"))


def test_unknown_profile_is_not_sent_where_the_ca_offers_none(shop: Workshop) -> None:
    with shop.issuer() as issuer:
        issuer.issue(replace(shop.request("profile.test"), profile="shortlived"))


def test_good_nonces_refused_and_authorizations_reused_cost_nothing(tmp_path: Path) -> None:
    mischief = {"PEBBLE_WFE_NONCEREJECT": "60", "PEBBLE_AUTHZREUSE": "100"}
    with workshop(tmp_path, environment=mischief) as shop:
        for names in (["a.test"], ["a.test", "b.test"]):
            with shop.issuer() as issuer:
                bundle_of(issuer.issue(shop.request(*names)), *names)
        assert "badNonce" in shop.pebble.log or "nonce" in shop.pebble.log.lower()
        looked_at = {host for host, _ in shop.responder.asked}
        assert looked_at == {"a.test", "b.test"}


def test_preferred_chain_is_taken_where_the_ca_has_it(tmp_path: Path) -> None:
    with workshop(tmp_path, environment={"PEBBLE_ALTERNATE_ROOTS": "2", "PEBBLE_CHAIN_LENGTH": "2"}) as shop:
        roots = [x509.load_pem_x509_certificate(shop.pebble.root(position)) for position in range(3)]
        chosen = roots[1].subject.rfc4514_string().removeprefix("CN=")
        tops = {}
        for preferred in (None, chosen, "No Such Root"):
            with shop.issuer(preferred) as issuer:
                files = {each.name: each.content for each in issuer.issue(shop.request("a.test"))}
            shop.journal.remove("a.test")
            top = x509.load_pem_x509_certificates(files["fullchain.pem"])[-1]
            tops[preferred] = top.issuer.rfc4514_string().removeprefix("CN=")
        assert tops[chosen] == chosen
        assert tops[None] == tops["No Such Root"] == roots[0].subject.rfc4514_string().removeprefix("CN=")


def test_external_account_binding_opens_a_ca_that_wants_it(tmp_path: Path) -> None:
    mac = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
    with workshop(tmp_path, external_accounts={"kid-1": mac}) as shop:
        with pytest.raises(OrderFailed) as refused, shop.issuer():
            pass
        assert refused.value.failure.cause is Cause.EXTERNAL_ACCOUNT
        wrong = replace(AGREED, key_id="kid-1", mac_key=mac[:-4] + "AAAA")
        with pytest.raises(OrderFailed), shop.issuer(settings=wrong):
            pass
        right = replace(AGREED, key_id="kid-1", mac_key=mac)
        assert mac not in repr(right)
        with shop.issuer(settings=right) as issuer:
            bundle_of(issuer.issue(shop.request("a.test")), "a.test")


def test_ca_that_is_gone_is_unreachable_and_the_order_waits(tmp_path: Path) -> None:
    with workshop(tmp_path) as shop, shop.issuer() as issuer:
        shop.pebble.stop()
        with pytest.raises(OrderFailed) as failed:
            issuer.issue(shop.request("a.test"))
        assert failed.value.failure.cause is Cause.CA_UNREACHABLE
        assert shop.tokens() == []
