import pytest

from certstore.model.settings.loading import parse_settings
from certstore.model.settings.section import NotEditable, section_text, with_section, without_section

FACTS = {"node": "edge-a", "engine": ["https://10.0.0.11:2379"], "ca_file": "ca.pem", "client_cert": "c.pem"}
LINES = section_text("cluster", FACTS)

TEXTS = [
    pytest.param("store: ./store\n", id="a plain file"),
    pytest.param("store: ./store", id="no line feed at the end"),
    pytest.param("# a remark\nstore: ./store\n\n# workers: auto\n", id="remarks"),
    pytest.param("\ufeffstore: ./store\n", id="a byte order mark"),
    pytest.param("store: ./store\r\nworkers: 2\r\n", id="line feeds of another system"),
    pytest.param("---\nstore: ./store\n", id="a document's mark"),
    pytest.param("listeners:\n- {kind: https, listen: '0.0.0.0:443'}\n", id="a list without indentation"),
]


@pytest.mark.parametrize("text", TEXTS)
def test_a_section_is_added_and_the_rest_stays(text: str) -> None:
    after = with_section(text, "cluster", FACTS)
    assert after.startswith(text.rstrip())
    assert after.endswith(LINES)
    before, now = parse_settings(text, "edge.yaml"), parse_settings(after, "edge.yaml")
    assert now.cluster is not None
    assert now.cluster.node == "edge-a"
    assert now.model_copy(update={"cluster": None}) == before


@pytest.mark.parametrize("text", TEXTS)
def test_a_section_that_was_added_is_taken_out_again(text: str) -> None:
    assert without_section(with_section(text, "cluster", FACTS), "cluster") == text.rstrip() + "\n"


@pytest.mark.parametrize(
    ("text", "after"),
    [
        pytest.param(f"{LINES}store: a\n", "store: a\n", id="at the beginning"),
        pytest.param(
            f"workers: 2\n{LINES}\n# about the store\nstore: a\n",
            "workers: 2\n\n# about the store\nstore: a\n",
            id="in the middle, the next remark stays",
        ),
        pytest.param(f"store: a\n{LINES}  # inside\n", "store: a\n", id="at the end, with a remark inside"),
        pytest.param("store: a\ncluster: {node: edge-a}\nworkers: 2\n", "store: a\nworkers: 2\n", id="in one line"),
        pytest.param(
            "store: a\ncluster:\n  engine:\n  - https://a\n\n  - https://b\nworkers: 2\n",
            "store: a\nworkers: 2\n",
            id="with a blank line inside",
        ),
        pytest.param('store: a\n"cluster":\n  node: a\n', "store: a\n", id="a quoted name"),
    ],
)
def test_only_the_section_is_taken_out(text: str, after: str) -> None:
    assert without_section(text, "cluster") == after


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(f"store: a\n{LINES}", "already", id="a section of this name"),
        pytest.param("{store: a}\n", "last line", id="flow style"),
        pytest.param("store: a\n...\n", "last line", id="a marked end"),
        pytest.param("- a\n", "keys with values", id="a list"),
        pytest.param("", "keys with values", id="nothing"),
        pytest.param("store: [\n", "keys with values", id="not YAML"),
    ],
)
def test_a_text_that_can_not_be_added_to_is_refused(text: str, words: str) -> None:
    with pytest.raises(NotEditable, match=words):
        with_section(text, "cluster", FACTS)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("store: a\n", "no section", id="no section"),
        pytest.param("{store: a, cluster: {node: a}}\n", "does not begin a line", id="flow style"),
    ],
)
def test_a_text_without_lines_of_the_section_is_refused(text: str, words: str) -> None:
    with pytest.raises(NotEditable, match=words):
        without_section(text, "cluster")
