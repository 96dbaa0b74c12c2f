"""Orders wait for the nodes that live, and not for ever for one that takes nothing."""

import pytest

from certstore.acme.network import OrderFailed
from certstore.cluster.acknowledgement import LEFT_OUT_AFTER, Acknowledgement
from certstore.model.renewal.failure import Cause


class Others:
    """How far each other node that lives has come."""

    def __init__(self, **applied: int) -> None:
        self.applied = applied

    def lacking(self, revision: int) -> list[str]:
        return sorted(node for node, applied in self.applied.items() if applied < revision)


def stop_orders(acknowledgement: Acknowledgement, *revisions: int) -> None:
    for revision in revisions:
        with pytest.raises(OrderFailed, match="deaf did not take the challenge's token"):
            acknowledgement.wait(revision)


def test_nodes_that_have_it_are_not_waited_for() -> None:
    Acknowledgement(Others(b=5, c=6).lacking, 0.0).wait(5)


def test_a_node_that_does_not_take_it_stops_the_order() -> None:
    with pytest.raises(OrderFailed) as failed:
        Acknowledgement(Others(b=5, deaf=4).lacking, 0.0).wait(5)
    assert failed.value.failure.cause is Cause.OWN_LISTENER


def test_a_node_that_has_stopped_three_orders_is_left_out_until_it_takes_one() -> None:
    others = Others(b=100, deaf=4)
    acknowledgement = Acknowledgement(others.lacking, 0.0)
    stop_orders(acknowledgement, *range(5, 5 + LEFT_OUT_AFTER))
    assert acknowledgement.left_out() == ["deaf"]
    acknowledgement.wait(20)
    assert acknowledgement.left_out() == ["deaf"]
    others.applied["deaf"] = 19
    assert acknowledgement.left_out() == ["deaf"], "it lacks the latest"
    others.applied["deaf"] = 20
    assert acknowledgement.left_out() == []
    stop_orders(acknowledgement, 21)


def test_an_engine_that_went_back_does_not_leave_a_node_out_for_good() -> None:
    others = Others(deaf=4)
    acknowledgement = Acknowledgement(others.lacking, 0.0)
    stop_orders(acknowledgement, *range(500, 500 + LEFT_OUT_AFTER))
    acknowledgement.wait(10)
    others.applied["deaf"] = 10
    assert acknowledgement.left_out() == []


def test_two_slow_moments_do_not_add_up() -> None:
    others = Others(deaf=4)
    acknowledgement = Acknowledgement(others.lacking, 0.0)
    for revision in range(5, 20):
        stop_orders(acknowledgement, revision)
        others.applied["deaf"] = revision
        assert acknowledgement.left_out() == []


def test_a_node_that_has_ended_is_forgotten() -> None:
    others = Others(deaf=4)
    acknowledgement = Acknowledgement(others.lacking, 0.0)
    stop_orders(acknowledgement, *range(5, 5 + LEFT_OUT_AFTER))
    del others.applied["deaf"]
    assert acknowledgement.left_out() == []
