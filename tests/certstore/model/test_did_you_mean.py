import pytest

from certstore.model.did_you_mean import site_advice

FEW = ("main", "webmail.client-a.test", "webmail.client-b.test")
MANY = ("main", *(f"webmail.client-{number}.test" for number in range(50)))


@pytest.mark.parametrize(
    ("asked", "known", "said"),
    [
        ("webmail.client-a.tset", FEW, "did you mean webmail.client-a.test? All sites: certedge site list"),
        ("client-a.test", FEW, "did you mean webmail.client-a.test? All sites: certedge site list"),
        ("Main", FEW, "did you mean main? All sites: certedge site list"),
        ("nowhere.example", FEW, "the sites are: main, webmail.client-a.test, webmail.client-b.test"),
        ("nowhere.example", MANY, "list the sites with: certedge site list"),
        ("nowhere.example", (), "list the sites with: certedge site list"),
    ],
    ids=["slip", "part", "case", "few", "many", "none"],
)
def test_advice_names_the_nearest_site_or_how_to_find_it(asked: str, known: tuple[str, ...], said: str) -> None:
    assert site_advice(asked, known) == said
