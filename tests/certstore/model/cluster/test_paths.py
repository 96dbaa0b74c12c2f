import pytest

from certstore.model.cluster.paths import CLASSES, ClusterPaths, RecordPath, Shelf, is_node_name
from certstore.model.cluster.wire import RecordClass
from tests.certstore.model.cluster.examples import CLUSTER

PATHS = ClusterPaths(CLUSTER)
TOKEN = "a" * 43

EXAMPLES = {
    Shelf.META: (),
    Shelf.SEQ: (),
    Shelf.SITE: ("webmail.client-a.test",),
    Shelf.HEAD: ("main",),
    Shelf.PREV: ("main",),
    Shelf.RENEWAL: ("main",),
    Shelf.COUNTER: ("letsencrypt", "names:client-a.test"),
    Shelf.ACCOUNT: ("letsencrypt",),
    Shelf.ORDER: ("main",),
    Shelf.TOLD: ("5f3a09c1d2e4",),
    Shelf.SAID: ("edge-a", "webmail.client-a.test"),
    Shelf.ADMIN: ("user", "anna@client-a.test"),
    Shelf.ACME: (),
    Shelf.TOKEN: (TOKEN,),
    Shelf.MEMBER: ("edge-a",),
    Shelf.LIVE: ("edge-a",),
    Shelf.CARETAKER: (),
    Shelf.LOCK: ("@letsencrypt",),
    Shelf.INVITE: ("00ff00ff00ff00ff",),
    Shelf.KEY: ("0badcafe", "edge-b"),
}


def test_there_is_an_example_of_every_shelf() -> None:
    assert EXAMPLES.keys() == set(Shelf)


@pytest.mark.parametrize("shelf", Shelf)
def test_a_path_stands_for_what_it_was_built_of(shelf: Shelf) -> None:
    path = PATHS.of(shelf, *EXAMPLES[shelf])
    assert path.startswith(f"/certedge/{CLUSTER}/{shelf.value}")
    assert PATHS.parse(path) == RecordPath(shelf, EXAMPLES[shelf])


def test_all_paths_of_the_examples_differ() -> None:
    assert len({PATHS.of(shelf, *parts) for shelf, parts in EXAMPLES.items()}) == len(Shelf)


@pytest.mark.parametrize(
    ("shelf", "parts"),
    [
        pytest.param(Shelf.SITE, (), id="no site"),
        pytest.param(Shelf.SITE, ("",), id="an empty site"),
        pytest.param(Shelf.SITE, ("../head/main",), id="a site that leads to another shelf"),
        pytest.param(Shelf.SITE, ("a.test", "b"), id="one part too many"),
        pytest.param(Shelf.SITE, ("A.test",), id="a site in capitals"),
        pytest.param(Shelf.SITE, ("a.test\0",), id="a zero byte"),
        pytest.param(Shelf.SAID, ("edge-a",), id="one part too few"),
        pytest.param(Shelf.SAID, ("edge.a", "main"), id="a node with a dot"),
        pytest.param(Shelf.TOKEN, ("short",), id="a short token"),
        pytest.param(Shelf.TOKEN, ("../../d/head/aaaaaaaaaaaaaaaaa",), id="a token that leads elsewhere"),
        pytest.param(Shelf.ADMIN, ("user", "../x"), id="a slash in a word"),
        pytest.param(Shelf.ADMIN, ("user", ".."), id="dots alone"),
        pytest.param(Shelf.INVITE, ("XYZ",), id="an invitation that is not hexadecimal"),
        pytest.param(Shelf.KEY, ("0badcafe0", "edge-a"), id="a key id of nine digits"),
        pytest.param(Shelf.META, ("x",), id="a part where there is none"),
    ],
)
def test_no_path_is_built_of_parts_that_would_lead_elsewhere(shelf: Shelf, parts: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="can't be a record"):
        PATHS.of(shelf, *parts)
    assert PATHS.parse(f"{PATHS.prefix}{'/'.join((shelf.value, *parts))}") is None


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("", id="nothing"),
        pytest.param(f"/certedge/{CLUSTER}", id="the prefix without its slash"),
        pytest.param(f"/certedge/{CLUSTER}/", id="the prefix alone"),
        pytest.param(f"/certedge/{CLUSTER}/d", id="half a shelf"),
        pytest.param(f"/certedge/{CLUSTER}/d/unknown/x", id="a shelf of a newer release"),
        pytest.param("/certedge/fedcba9876543210/meta", id="another cluster"),
        pytest.param(f"certedge/{CLUSTER}/meta", id="without the first slash"),
        pytest.param(f"/certedge/{CLUSTER}//meta", id="an empty part"),
        pytest.param(f"/certedge/{CLUSTER}/meta/", id="a slash at the end"),
        pytest.param(f"/certedge/{CLUSTER}/t/{TOKEN}/x", id="more after a token"),
    ],
)
def test_what_is_no_path_of_the_cluster_stands_for_nothing(path: str) -> None:
    assert PATHS.parse(path) is None


@pytest.mark.parametrize("cluster", ["", "0123", "0123456789ABCDEF", "0123456789abcde/", "../../../../../x"])
def test_a_cluster_has_an_id_of_16_hexadecimal_digits(cluster: str) -> None:
    with pytest.raises(ValueError, match="id of a cluster"):
        ClusterPaths(cluster)


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        pytest.param("edge-a", True, id="a label"),
        pytest.param("a", True, id="one letter"),
        pytest.param("1", True, id="a digit"),
        pytest.param("a" * 63, True, id="63 characters"),
        pytest.param("a" * 64, False, id="64 characters"),
        pytest.param("", False, id="nothing"),
        pytest.param("-a", False, id="a hyphen first"),
        pytest.param("a-", False, id="a hyphen last"),
        pytest.param("a.b", False, id="a dot"),
        pytest.param("A", False, id="a capital"),
        pytest.param("a\n", False, id="a line feed"),
        pytest.param("ä", False, id="not ASCII"),
    ],
)
def test_node_names_are_labels_in_lower_case(name: str, is_one: bool) -> None:
    assert is_node_name(name) is is_one


def test_only_what_every_node_serves_or_needs_to_know_can_be_opened_by_a_front() -> None:
    for_all = {shelf for shelf, own in CLASSES.items() if own is RecordClass.SITES}
    assert for_all == {Shelf.META, Shelf.SITE, Shelf.HEAD, Shelf.PREV, Shelf.TOKEN, Shelf.MEMBER}
    assert {shelf for shelf, own in CLASSES.items() if own is RecordClass.NODE} == {Shelf.LIVE}


def test_what_has_no_class_only_coordinates() -> None:
    assert set(Shelf) - CLASSES.keys() == {Shelf.SEQ, Shelf.CARETAKER, Shelf.LOCK, Shelf.INVITE, Shelf.KEY}
    assert not [shelf for shelf in Shelf if RecordPath(shelf).is_durable and shelf not in CLASSES]


def test_the_short_forms_are_the_paths_of_their_shelves() -> None:
    assert (PATHS.meta, PATHS.seq, PATHS.caretaker) == tuple(
        PATHS.of(shelf) for shelf in (Shelf.META, Shelf.SEQ, Shelf.CARETAKER)
    )
    assert [PATHS.site("main"), PATHS.head("main"), PATHS.prev("main"), PATHS.lock("main")] == [
        PATHS.of(shelf, "main") for shelf in (Shelf.SITE, Shelf.HEAD, Shelf.PREV, Shelf.LOCK)
    ]
    assert PATHS.said("edge-a", "main") == PATHS.of(Shelf.SAID, "edge-a", "main")
    assert [PATHS.member("edge-a"), PATHS.live("edge-a")] == [
        PATHS.of(Shelf.MEMBER, "edge-a"), PATHS.of(Shelf.LIVE, "edge-a")
    ]  # fmt: skip
    assert PATHS.invite("0" * 16) == PATHS.of(Shelf.INVITE, "0" * 16)
    assert PATHS.site("main").startswith(PATHS.shelf(Shelf.SITE))
    assert RecordPath(Shelf.SITE, ("main",)).name == "main"
