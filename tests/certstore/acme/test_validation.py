"""How names are proven, shown with a made-up challenge type: what an order asks of any type, and when."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from josepy.jwk import JWKEC

from certstore.acme import keys
from certstore.acme.account import Account
from certstore.acme.challenge_kind import ChallengeKind, ChallengeKinds, Proof
from certstore.acme.network import Conversation, OrderFailed
from certstore.acme.order_context import Interrupted, OrderContext
from certstore.acme.order_journal import OrderJournal, OrderRequest, OrderUnderWay
from certstore.acme.validation import OrderInvalid, Validation, _merged
from certstore.model.renewal.ca import find_ca
from certstore.model.renewal.failure import Cause, Failure
from certstore.model.renewal.preflight_facts import WayFacts
from tests.certstore.acme.workshop import make_layout

TOKEN = "A" * 43
PENDING = {"type": "made-up-01", "url": "https://ca.test/challenge", "token": TOKEN, "status": "pending"}
OTHER = {"type": "dns-01", "url": "https://ca.test/other", "token": "E" * 43, "status": "pending"}


WILDCARD = {"wildcard": True}


def authorization(status: str, *challenges: dict[str, str]) -> dict[str, Any]:
    return {"identifier": {"type": "dns", "value": "a.test"}, "status": status, "challenges": list(challenges)}


class Bench:
    """The CA gives its `answers` in turn; `course` records what happened, in order."""

    def __init__(self, folder: Path, *answers: dict[str, Any]) -> None:
        self.course: list[str] = []
        self.answers = list(answers)
        self.network = SimpleNamespace(last_response=None)
        self.failure: Failure | None = None
        self.layout = make_layout(folder)
        self.journal = OrderJournal(self.layout)
        self.order = OrderUnderWay(OrderRequest("a.test", "ca", ("a.test",), "ec256"), datetime.now(UTC), ())
        self.publish: Callable[[Sequence[Proof]], None] = lambda proofs: self.note("published", proofs)
        self.verdicts: list[str] = []
        self.ways: dict[str, tuple[str, ...]] = {}

    # What the CA is to the validation

    def fetch(self, url: str) -> Any:
        answer = self.answers.pop(0)
        return SimpleNamespace(json=lambda: answer, headers={})

    def post(self, url: str, body: Any, *, names: Sequence[str]) -> None:
        assert body, "the library sends nothing for a body that is falsy"
        self.course.append(f"{url} {body.json_dumps()}")

    # What a challenge type is to it

    def note(self, what: str, proofs: Iterable[Proof]) -> None:
        self.course.extend(f"{what} {proof.name} {proof.token}" for proof in proofs)

    def check(self, proof: Proof) -> Failure | None:
        self.note("checked", [proof])
        return self.failure

    def kind(self, type_: str, check: Callable[[Proof], Failure | None]) -> ChallengeKind:
        return ChallengeKind(
            type_,
            lambda proofs, publishing: self.publish(proofs),
            lambda proofs: self.note("withdrawn", proofs),
            check,
            lambda context: nullcontext(lambda name, addresses, budget: WayFacts(type_)),
        )

    def prove(self, *, next_kind: str | None = None) -> None:
        """With `next_kind`, there is another type, whose self-check always succeeds."""
        kinds = [self.kind("made-up-01", self.check)]
        if next_kind is not None:
            kinds.append(self.kind(next_kind, lambda proof: None))
        key = keys.make_key("ec256")
        account = Account(find_ca("https://ca.test/dir"), JWKEC(key=key), "https://ca.test/account", ())
        context = OrderContext(
            self.journal,
            ChallengeKinds(*kinds),
            lambda seconds: False,
            note_failed=lambda name, way: self.verdicts.append(f"{name} failed by {way}"),
            note_proven=lambda name, way: self.verdicts.append(f"{name} proven by {way}"),
            ways=self.ways,
        )
        Validation(cast(Conversation, self), account, context).prove(["https://ca.test/authorization"], self.order)


PUBLISHED, CHECKED, WITHDRAWN = (f"{what} a.test {TOKEN}" for what in ("published", "checked", "withdrawn"))
ANSWERED = "https://ca.test/challenge {}"


def test_proof_is_published_checked_answered_and_withdrawn_in_this_order(tmp_path: Path) -> None:
    bench = Bench(tmp_path, authorization("pending", OTHER, PENDING), authorization("valid", PENDING))
    bench.prove()
    assert bench.course == [PUBLISHED, CHECKED, ANSWERED, WITHDRAWN]
    order = bench.journal.load("a.test")
    assert order is not None
    (proof,) = order.published
    assert proof.key_authorization.startswith(f"{TOKEN}.")


def test_name_that_is_proven_already_needs_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path, authorization("valid", PENDING))
    bench.prove()
    assert bench.course == []


def test_ca_is_not_asked_to_look_where_the_check_fails(tmp_path: Path) -> None:
    bench = Bench(tmp_path, authorization("pending", PENDING))
    bench.failure = Failure(Cause.OWN_LISTENER, "not there")
    with pytest.raises(OrderFailed, match="not there"):
        bench.prove()
    assert bench.course == [PUBLISHED, CHECKED, WITHDRAWN]


@pytest.mark.parametrize("error", [OSError("disk full"), Interrupted()], ids=["a fault", "a stop"])
def test_proof_that_was_perhaps_published_is_withdrawn(tmp_path: Path, error: Exception) -> None:
    bench = Bench(tmp_path, authorization("pending", PENDING))

    def fail(proofs: Sequence[Proof]) -> None:
        raise error

    bench.publish = fail
    with pytest.raises(type(error)):
        bench.prove()
    assert bench.course == [WITHDRAWN]


def test_proof_that_a_killed_process_published_is_left_to_the_end_of_the_order(tmp_path: Path) -> None:
    first = Bench(tmp_path / "first", authorization("pending", PENDING), authorization("valid", PENDING))
    first.prove()
    second = Bench(
        tmp_path / "second", authorization("pending", PENDING | {"status": "processing"}), authorization("valid")
    )
    known = first.journal.load("a.test")
    assert known is not None
    second.order = known
    # As the same account, or the proof would be a different one.
    (proof,) = known.published
    account_key = proof.key_authorization.partition(".")[2]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Account, "key_authorization", lambda self, token: f"{token}.{account_key}")
        second.prove()
    assert second.course == [PUBLISHED, CHECKED], "and the CA, which is checking already, is not asked again"


@pytest.mark.parametrize(
    ("challenges", "cause", "words"),
    [
        ([OTHER], Cause.REQUEST_REFUSED, "no made-up-01 challenge for a.test"),
        ([PENDING | {"token": "../../etc/passwd"}], Cause.CA_ERROR, "token for a.test"),
        ([{key: PENDING[key] for key in ("type", "url", "status")}], Cause.CA_ERROR, "token for a.test"),
    ],
    ids=["another type", "a path for a token", "no token"],
)
def test_challenge_that_is_not_usable_is_a_failure_in_words(
    tmp_path: Path, challenges: list[dict[str, str]], cause: Cause, words: str
) -> None:
    bench = Bench(tmp_path, authorization("pending", *challenges))
    with pytest.raises(OrderFailed, match=words) as failed:
        bench.prove()
    assert (failed.value.failure.cause, failed.value.failure.names) == (cause, ("a.test",))
    assert bench.course == []


def test_authorization_that_is_dead_before_anything_was_done_ends_the_order_only(tmp_path: Path) -> None:
    bench = Bench(tmp_path, authorization("invalid", PENDING))
    with pytest.raises(OrderInvalid):
        bench.prove()


# More than one way

BY_OTHER = "https://ca.test/other {}"


def test_way_that_fails_from_here_gives_way_to_the_next_in_the_same_order(tmp_path: Path) -> None:
    bench = Bench(tmp_path, authorization("pending", OTHER, PENDING), authorization("valid", PENDING))
    bench.failure = Failure(Cause.OWN_LISTENER, "not there")
    bench.prove(next_kind="dns-01")
    other = f"a.test {'E' * 43}"
    assert bench.course == [
        PUBLISHED, CHECKED, f"published {other}", BY_OTHER, WITHDRAWN, f"withdrawn {other}"
    ]  # fmt: skip
    assert bench.verdicts == ["a.test proven by dns-01"]
    order = bench.journal.load("a.test")
    assert order is not None
    assert [proof.type for proof in order.published] == ["made-up-01", "dns-01"], "a kill would leave both"


def test_way_that_can_not_publish_gives_way_too(tmp_path: Path) -> None:
    bench = Bench(tmp_path, authorization("pending", OTHER, PENDING), authorization("valid", PENDING))

    def publish(proofs: Sequence[Proof]) -> None:
        if proofs[0].type == "made-up-01":
            raise OrderFailed(Failure(Cause.DNS, "the zone refuses updates"))

    bench.publish = publish
    bench.prove(next_kind="dns-01")
    assert bench.verdicts == ["a.test proven by dns-01"]


def test_order_fails_with_all_reasons_once_no_way_is_left(tmp_path: Path) -> None:
    bench = Bench(tmp_path, authorization("pending", OTHER, PENDING))
    bench.failure = Failure(Cause.OWN_LISTENER, "not there")

    def publish(proofs: Sequence[Proof]) -> None:
        if proofs[0].type == "dns-01":
            raise OrderFailed(Failure(Cause.DNS, "the zone refuses updates"))

    bench.publish = publish
    with pytest.raises(OrderFailed, match="not there; the zone refuses updates") as failed:
        bench.prove(next_kind="dns-01")
    assert failed.value.failure.cause is Cause.OWN_LISTENER
    assert bench.verdicts == []


def test_order_of_the_ways_is_that_of_the_name(tmp_path: Path) -> None:
    bench = Bench(tmp_path, authorization("pending", PENDING, OTHER), authorization("valid", PENDING))
    bench.ways = {"a.test": ("dns-01", "made-up-01")}
    bench.prove(next_kind="dns-01")
    assert BY_OTHER in bench.course
    assert ANSWERED not in bench.course


def test_way_that_the_name_may_not_take_is_not_taken(tmp_path: Path) -> None:
    bench = Bench(tmp_path, authorization("pending", PENDING))
    bench.ways = {"a.test": ("dns-01",)}
    with pytest.raises(OrderFailed, match="no dns-01 challenge"):
        bench.prove(next_kind="dns-01")


def test_name_without_any_way_takes_none(tmp_path: Path) -> None:
    """Such as a wildcard without dns-01 in the one order with every name before the old certificate expires."""
    bench = Bench(tmp_path, authorization("pending", PENDING, OTHER))
    bench.ways = {"a.test": ()}
    with pytest.raises(OrderFailed) as failed:
        bench.prove(next_kind="dns-01")
    assert failed.value.failure.detail == "a.test has no challenge type that may prove it"
    assert bench.course == []


def test_challenge_that_the_ca_is_looking_at_is_stuck_to(tmp_path: Path) -> None:
    looked_at = PENDING | {"status": "processing"}
    bench = Bench(tmp_path, authorization("pending", OTHER, looked_at), authorization("valid", PENDING))
    bench.ways = {"a.test": ("dns-01",)}
    bench.prove(next_kind="dns-01")
    assert bench.course == [PUBLISHED, CHECKED, WITHDRAWN]
    assert bench.verdicts == ["a.test proven by made-up-01"]


def test_failure_at_the_ca_is_noted_with_its_way_and_ends_the_order(tmp_path: Path) -> None:
    bench = Bench(tmp_path, authorization("pending", OTHER, PENDING), authorization("invalid", PENDING))
    with pytest.raises(OrderFailed):
        bench.prove(next_kind="dns-01")
    assert bench.verdicts == ["a.test failed by made-up-01"]
    assert BY_OTHER not in bench.course


def test_wildcard_is_named_as_it_was_ordered(tmp_path: Path) -> None:
    """Its authorization has the name below the star, and a flag (RFC 8555 §7.1.4)."""
    wildcard = authorization("pending", OTHER) | WILDCARD
    bench = Bench(tmp_path, wildcard, authorization("invalid", OTHER) | WILDCARD)
    bench.ways = {"*.a.test": ("dns-01",), "a.test": ("made-up-01",)}
    with pytest.raises(OrderFailed) as failed:
        bench.prove(next_kind="dns-01")
    assert failed.value.failure.names == ("*.a.test",)
    assert bench.verdicts == ["*.a.test failed by dns-01"]


@pytest.mark.parametrize(
    ("failures", "detail"),
    [
        ([Failure(Cause.OWN_LISTENER, "port 80 is silent")], "port 80 is silent"),
        ([Failure(Cause.OWN_LISTENER, "port 80 is silent")] * 2, "port 80 is silent"),
        ([Failure(Cause.DNS, "no address", ("a.test",))], "a.test: no address"),
        ([Failure(Cause.DNS, "a.test has no address", ("a.test",))], "a.test has no address"),
        (
            [Failure(Cause.OWN_LISTENER, "port 80 is silent"), Failure(Cause.DNS, "no address", ("a.test",))],
            "port 80 is silent; a.test: no address",
        ),
    ],
)
def test_several_failures_are_one_sentence_each(failures: list[Failure], detail: str) -> None:
    assert _merged(failures).detail == detail
