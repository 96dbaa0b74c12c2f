from datetime import UTC, datetime, timedelta
from typing import cast

from certstore.acme.network import Conversation, OrderFailed
from certstore.model.renewal.ca import Ca, find_ca
from certstore.model.renewal.failure import Cause, Failure
from certstore.renewal.renewal_windows import DOWN_FOR, KEPT_FOR, AriClient

CA = find_ca("https://ca.test/dir")


class Silent:
    """A conversation with a CA that has no windows to suggest."""

    def __init__(self) -> None:
        self.is_closed = False

    def has(self, resource: str) -> bool:
        return False

    def close(self) -> None:
        self.is_closed = True


class Bench:
    def __init__(self) -> None:
        self.now = datetime(2027, 3, 1, tzinfo=UTC)
        self.begun: list[Silent] = []
        self.is_down = False
        self.tries = 0
        self.client = AriClient(self.begin, lambda: self.now)

    def begin(self, ca: Ca) -> Conversation:
        self.tries += 1
        if self.is_down:
            raise OrderFailed(Failure(Cause.CA_UNREACHABLE, "down"))
        self.begun.append(Silent())
        return cast(Conversation, self.begun[-1])


def test_thousands_of_questions_share_a_conversation() -> None:
    bench = Bench()
    for _ in range(1000):
        bench.client.ask(CA, "x.y")
    assert len(bench.begun) == 1
    bench.now += KEPT_FOR
    bench.client.ask(CA, "x.y")
    assert [each.is_closed for each in bench.begun] == [True, False]
    bench.client.close()
    assert [each.is_closed for each in bench.begun] == [True, True]


def test_ca_that_is_down_is_not_waited_for_once_per_site() -> None:
    bench = Bench()
    bench.is_down = True
    answers = [bench.client.ask(CA, "x.y") for _ in range(1000)]
    assert bench.tries == 1
    assert {answer.problem for answer in answers} == {"ca.test can't be reached"}
    bench.is_down = False
    bench.now += timedelta(seconds=30)
    bench.client.ask(CA, "x.y")
    assert bench.tries == 1
    bench.now += DOWN_FOR
    bench.client.ask(CA, "x.y")
    assert len(bench.begun) == 1


def test_one_ca_that_is_down_does_not_silence_the_other() -> None:
    bench = Bench()
    bench.is_down = True
    bench.client.ask(CA, "x.y")
    bench.is_down = False
    bench.client.ask(find_ca("https://other.test/dir"), "x.y")
    assert len(bench.begun) == 1
