"""The objects behind a plane's protocols, for tests that inspect them."""

from typing import cast

from edge_addon.inspection.inspector import Inspector
from edge_addon.listeners.connection import ClientConnection
from edge_addon.plane.data_plane import DataPlane


def connections_of(plane: DataPlane) -> set[ClientConnection]:
    return cast(set[ClientConnection], plane.connections)


def inspector_of(plane: DataPlane) -> Inspector:
    assert isinstance(plane.inspector, Inspector)
    return plane.inspector
