"""The cluster: its nodes, and what is wrong with them."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from certstore.admin.actions import cluster
from certstore.admin.http.admission import ApiRoute, needs
from certstore.admin.http.identity import ActionsDep, ApiActor
from certstore.model.console.authorization import Action

router = APIRouter(tags=["cluster"], route_class=ApiRoute)


@router.get("/cluster", summary="The nodes of the cluster as this one sees them; null without a cluster")
@needs(Action.SERVICE_VIEW)
def show(actions: ActionsDep, actor: ApiActor) -> dict[str, Any]:
    """As `cluster` of `certedge status --json`."""
    standing = cluster.show_cluster(actions, actor)
    return {"cluster": {**standing.to_json(), "line": standing.line} if standing is not None else None}
