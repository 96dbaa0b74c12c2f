"""A node by itself remembers what it told, and asks nobody."""

from certstore.model.notify.due_notices import Told
from certstore.notify.told_sharing import OneTeller


def test_a_node_by_itself_has_no_news() -> None:
    teller = OneTeller()
    teller.offer({"admin@example.org": Told.nothing()})
    teller.tell("admin@example.org", Told.nothing())
    assert teller.news() == {}
