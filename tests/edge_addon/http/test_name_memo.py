"""Names are worked out once, and a client can't fill the memory with names that it makes up."""

from edge_addon.http.name_memo import LONGEST_NAME, MOST_NAMES, NameMemo


class Lengths(NameMemo[int]):
    def __init__(self) -> None:
        super().__init__()
        self.asked: list[bytes] = []

    def work_out(self, name: bytes) -> int:
        self.asked.append(name)
        return len(name)


def test_a_name_is_worked_out_once() -> None:
    memo = Lengths()
    assert [memo[b"host"], memo[b"host"], memo[b"Host"]] == [4, 4, 4]
    assert memo.asked == [b"host", b"Host"]


def test_number_and_length_of_remembered_names_are_bounded() -> None:
    memo = Lengths()
    assert memo[b"x" * (LONGEST_NAME + 1)] == LONGEST_NAME + 1
    assert not memo
    for number in range(MOST_NAMES + 10):
        assert memo[b"%d" % number]
    assert len(memo) == MOST_NAMES
