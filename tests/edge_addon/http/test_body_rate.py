"""The deadline of a body moves in steps, for channels with every byte."""

from edge_addon.http.body_rate import BodyRate
from edge_addon.http.limits import BODY_STEP


def test_a_body_must_grow_by_a_step() -> None:
    rate = BodyRate(b"POST")
    assert [rate.has_stepped(size) for size in (1, BODY_STEP - 1, BODY_STEP, BODY_STEP + 1, 2 * BODY_STEP)] == [
        False, False, True, False, True,
    ]  # fmt: skip


def test_a_channel_steps_with_every_byte() -> None:
    rate = BodyRate(b"RPC_IN_DATA")
    assert rate.is_channel
    assert rate.has_stepped(1)
    assert rate.has_stepped(2)
