"""The nodes of the cluster: who is in step, who renews, and what is wrong."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from certstore.admin.actions import cluster
from certstore.admin.http.admission import PageRoute, needs
from certstore.admin.pages.rendering import PageVisit
from certstore.model.cluster.health import NodeState, sites_behind
from certstore.model.cluster.standing import NodeFacts
from certstore.model.console.authorization import Action

router = APIRouter(route_class=PageRoute)

STATES = {
    NodeState.IN_STEP: ("ok", "In step"),
    NodeState.BEHIND: ("warning", "Behind"),
    NodeState.DIFFERS: ("failing", "Serves something else"),
    NodeState.GONE: ("failing", "Not heard"),
}


@router.get("/nodes")
@needs(Action.SERVICE_VIEW)
def show_nodes(visit: PageVisit) -> Response:
    standing = cluster.show_cluster(visit.actions, visit.actor)
    return visit.show("nodes.html", standing=standing, state=_state)


def _state(node: NodeFacts) -> tuple[str, str]:
    """Icon and words."""
    kind, words = STATES.get(NodeState(node.state), ("warning", node.state))
    return kind, sites_behind(node.behind) if node.state == NodeState.BEHIND else words
