"""Actions on the cluster: how its nodes stand, as control of this node writes it down."""

from __future__ import annotations

from certstore.admin.actions.action import Actions, Actor
from certstore.model.cluster.standing import ClusterStanding
from certstore.model.console.authorization import Action
from certstore.monitoring.cluster_standing import read_standing


def belongs_to_one(actions: Actions) -> bool:
    """Whether edge.yaml has a section `cluster:`."""
    return actions.context.settings.cluster is not None


def show_cluster(actions: Actions, actor: Actor) -> ClusterStanding | None:
    """None without a cluster, or where control has not said anything for a while."""
    actions.check(actor, Action.SERVICE_VIEW)
    if not belongs_to_one(actions):
        return None
    return read_standing(actions.context.writer.layout, actions.context.clock())
