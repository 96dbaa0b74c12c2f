"""Whose turn it is, without a cluster and without a usable one."""

from certstore.model.duty import Alone, Nobody


def test_a_node_by_itself_orders_and_warns() -> None:
    assert Alone().is_mine()
    assert Alone().is_mine_to_warn()


def test_a_node_that_can_not_reach_its_cluster_only_warns() -> None:
    assert not Nobody().is_mine()
    assert Nobody().is_mine_to_warn()
