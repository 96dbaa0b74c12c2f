"""Who owns which name: the rules as a table, and the index against deciding everything anew."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certstore.model.name_ownership import Claim, Conflict, NameOwnership, SiteClaims, implicit_names, owner


def claims(site: str, *explicit: str, implicit: tuple[str, ...] = (), host: str | None = None) -> SiteClaims:
    return SiteClaims(site, host or explicit[0], explicit, implicit)


def explicit(site: str, number: int, host: str = "elsewhere.test") -> Claim:
    return Claim(site, host, is_explicit=True, number=number)


def implicit(site: str, number: int = 1) -> Claim:
    return Claim(site, "elsewhere.test", is_explicit=False, number=number)


# Names that a bare site may take from its certificate


@pytest.mark.parametrize(
    ("folder", "dns_names", "taken"),
    [
        pytest.param(
            "webmail.client-a.test2.com",
            ("webmail.client-a.test2.com", "autodiscover.client-a.test2.com", "client-a.test2.com"),
            ("autodiscover.client-a.test2.com", "client-a.test2.com"),
            id="names beside the folder's and its parent itself",
        ),
        pytest.param("webmail.a.com", ("x.y.a.com", "*.a.com"), ("x.y.a.com", "*.a.com"), id="deeper names, wildcards"),
        pytest.param("webmail.a.com", ("webmail.b.com", "b.com"), (), id="not those of another domain"),
        pytest.param("webmail.a.com", ("xa.com", "webmail.xa.com"), (), id="not a domain that only ends alike"),
        pytest.param("webmail.sub.a.com", ("webmail.a.com", "a.com"), (), id="not those above the direct parent"),
        pytest.param("a.co.uk", ("b.co.uk", "co.uk", "*.co.uk"), (), id="never across a public suffix"),
        pytest.param("a.co.uk", ("www.a.co.uk", "b.co.uk"), ("www.a.co.uk",), id="below a name that was registered"),
        pytest.param("a.com", ("www.a.com", "b.com"), ("www.a.com",), id="below a name under a top-level domain"),
        pytest.param("co.uk", ("www.co.uk",), (), id="nothing for a folder that is a public suffix itself"),
        pytest.param("x.github.io", ("y.github.io",), (), id="private suffixes count"),
        pytest.param("a.io.com", ("*.github.io",), (), id="a wildcard over a public suffix elsewhere"),
        pytest.param("client", ("x.client",), (), id="nothing for one label"),
    ],
)
def test_bare_site_takes_names_of_its_own_domain(folder: str, dns_names: tuple[str, ...], taken: tuple[str]) -> None:
    assert implicit_names(folder, dns_names, is_self_signed=False) == taken


def test_bare_site_takes_nothing_from_a_self_signed_certificate() -> None:
    names = ("webmail.a.com", "mail.a.com")
    assert implicit_names("webmail.a.com", names, is_self_signed=False) == ("mail.a.com",)
    assert implicit_names("webmail.a.com", names, is_self_signed=True) == ()


# Who owns one name


@pytest.mark.parametrize(
    ("rivals", "expected"),
    [
        pytest.param([], None, id="nobody claims it"),
        pytest.param([explicit("a", 5)], "a", id="one declares it"),
        pytest.param([explicit("a", 5), explicit("main", 9)], "main", id="main wins however late"),
        pytest.param([explicit("a", 5), explicit("b", 4)], "b", id="the earlier declaration wins"),
        pytest.param(
            [explicit("a", 5), explicit("b", 5, host="n.test")], "b", id="a tie goes to the site whose host it is"
        ),
        pytest.param(
            [explicit("a", 4), explicit("b", 5, host="n.test")], "a", id="being the host does not beat earlier"
        ),
        pytest.param([explicit("b", 5), explicit("a", 5)], "a", id="then the alphabet decides"),
        pytest.param([implicit("a"), explicit("b", 9)], "b", id="declared beats taken from a certificate"),
        pytest.param([implicit("b", 2), implicit("a", 3)], "b", id="of two that take it the earlier site"),
    ],
)
def test_owner_of_a_name(rivals: list[Claim], expected: str | None) -> None:
    for order in (rivals, rivals[::-1]):
        found = owner("n.test", order, ())
        assert (found.site if found else None) == expected


@pytest.mark.parametrize(
    ("name", "main_names", "is_taken"),
    [
        pytest.param("n.a.test", (), True, id="main covers nothing"),
        pytest.param("n.a.test", ("n.a.test",), False, id="main covers it exactly"),
        pytest.param("n.a.test", ("*.a.test",), False, id="main covers it by a wildcard"),
        pytest.param("n.a.test", ("*.test",), True, id="main's wildcard is above"),
        pytest.param("*.a.test", ("n.a.test",), True, id="main covers one name of the wildcard"),
    ],
)
def test_implicit_name_yields_to_the_main_certificate(name: str, main_names: tuple[str, ...], is_taken: bool) -> None:
    assert (owner(name, [implicit("a")], main_names) is not None) is is_taken
    assert owner(name, [explicit("a", 1)], main_names) is not None, "a declared name does not yield"


# The index


def test_put_returns_the_sites_whose_names_changed() -> None:
    index = NameOwnership()
    assert index.put(claims("a", "a.test", "shared.test")) == {"a"}
    assert index.put(claims("b", "b.test", "shared.test")) == {"b"}
    assert index.owned("a") == ("a.test", "shared.test")
    assert index.owned("b") == ("b.test",)
    assert index.put(claims("a", "a.test")) == {"a", "b"}, "the name moves on to the next in line"
    assert index.owned("b") == ("b.test", "shared.test")
    assert index.put(claims("a", "a.test")) == frozenset(), "nothing new, nothing changed"


def test_name_given_up_and_declared_again_is_the_latest() -> None:
    index = NameOwnership()
    index.put(claims("a", "a.test", "shared.test"))
    index.put(claims("b", "b.test", "shared.test"))
    index.put(claims("a", "a.test"))
    index.put(claims("a", "a.test", "shared.test"))
    assert "shared.test" in index.owned("b")


def test_numbers_that_writers_agreed_on_decide_anew() -> None:
    index = NameOwnership()
    for site in ("a", "b"):
        index.put(claims(site, "x.test"))
    assert index.owned("a") == ("x.test",)
    assert index.agree("a", {"x.test": 9}) == {"a", "b"}
    assert (index.owned("a"), index.owned("b")) == ((), ("x.test",))
    index.put(claims("c", "y.test"))
    assert index.numbers_of("c")["y.test"] > 9, "what is new comes after everything agreed on"


def test_numbers_of_a_site_that_is_not_there_yet_count_when_it_comes() -> None:
    index = NameOwnership()
    index.put(claims("a", "x.test"))
    assert index.agree("b", {"x.test": 0}) == frozenset()
    index.put(claims("b", "x.test"))
    assert index.owned("b") == ("x.test",)


def test_removed_site_leaves_its_names_to_the_next() -> None:
    index = NameOwnership()
    index.put(claims("a", "a.test", "shared.test"))
    index.put(claims("b", "b.test", "shared.test"))
    assert index.remove("a") == {"a", "b"}
    assert (index.owned("a"), index.owned("b")) == ((), ("b.test", "shared.test"))
    assert index.remove("a") == frozenset()
    assert index.numbers_of("a") == {}


def test_main_takes_its_names_back() -> None:
    index = NameOwnership()
    index.put(claims("a", "a.test", "mail.test"))
    assert index.put(claims("main", "mail.test")) == {"a", "main"}
    assert index.owned("a") == ("a.test",)
    assert index.conflicts("a") == index.conflicts("main") == (Conflict("mail.test", owner="main", loser="a"),)


def test_conflict_is_reported_for_both_sites_and_for_no_third() -> None:
    index = NameOwnership()
    for site in ("a", "b", "c"):
        index.put(claims(site, f"{site}.test", "shared.test"))
    index.put(claims("d", "d.test"))
    assert index.conflicts("a") == (Conflict("shared.test", "a", "b"), Conflict("shared.test", "a", "c"))
    assert index.conflicts("b") == (Conflict("shared.test", "a", "b"),)
    assert index.conflicts("d") == index.conflicts("unknown") == ()


def test_implicit_claim_that_yields_is_no_conflict() -> None:
    index = NameOwnership()
    index.put(claims("a", "a.test", implicit=("mail.a.test",)))
    assert index.owned("a") == ("a.test", "mail.a.test")
    assert index.put(claims("b", "mail.a.test")) == {"a", "b"}
    assert index.owned("a") == ("a.test",)
    assert index.conflicts("a") == index.conflicts("b") == ()


def test_change_of_the_main_certificate_moves_implicit_names() -> None:
    index = NameOwnership()
    index.put(claims("a", "a.test", implicit=("mail.a.test",)))
    index.put(claims("b", "b.test"))
    assert index.set_main_certificate_names(("*.a.test",)) == {"a"}
    assert index.owned("a") == ("a.test",)
    assert index.set_main_certificate_names(("*.a.test",)) == frozenset()
    assert index.set_main_certificate_names(()) == {"a"}
    assert index.owned("a") == ("a.test", "mail.a.test")


def test_new_order_of_names_is_a_change_because_the_host_comes_first() -> None:
    index = NameOwnership()
    index.put(claims("a", "a.test", "b.test"))
    assert index.put(claims("a", "b.test", "a.test")) == {"a"}
    assert index.owned("a") == ("b.test", "a.test")


def test_sites_seen_together_tie_in_any_order() -> None:
    sites = [claims("a", "a.test", "b.test"), claims("b", "b.test"), claims("z", "z.test", "b.test")]
    for order in (sites, sites[::-1]):
        index = NameOwnership()
        index.put_all(order)
        assert "b.test" in index.owned("b"), "of equals, the site whose host it is"
    index = NameOwnership()
    index.put(sites[0])
    index.put(sites[1])
    assert "b.test" in index.owned("a"), "seen one after the other, the first"


def test_sequence_survives_a_restart_through_json() -> None:
    first = NameOwnership()
    first.put(claims("z", "z.test", "shared.test"))
    first.put(claims("a", "a.test", "shared.test"))
    second = NameOwnership(json.loads(json.dumps({site: first.numbers_of(site) for site in ("a", "z")})))
    second.put_all([claims("a", "a.test", "shared.test"), claims("z", "z.test", "shared.test")])
    assert "shared.test" in second.owned("z")
    second.put(claims("b", "b.test", "shared.test"))
    second.remove("z")
    assert "shared.test" in second.owned("a"), "new numbers go on after the old ones"
    assert NameOwnership().put_all([]) == frozenset()


SITES = ["main", "a", "b", "c"]
NAMES = st.sampled_from(["a.t", "b.t", "c.t", "x.a.t", "*.a.t"])
CLAIMS = st.builds(
    lambda site, host, more, taken: SiteClaims(site, host, tuple(dict.fromkeys((host, *more))), tuple(taken)),
    st.sampled_from(SITES),
    NAMES,
    st.lists(NAMES, max_size=2),
    st.lists(NAMES, max_size=3, unique=True),
)
STEPS = st.lists(
    st.one_of(
        CLAIMS,
        st.lists(CLAIMS, max_size=3, unique_by=lambda each: each.site),
        st.sampled_from(SITES),
        st.frozensets(NAMES, max_size=2),
    ),
    max_size=12,
)


def apply(index: NameOwnership, step: object) -> frozenset[str]:
    match step:
        case SiteClaims():
            return index.put(step)
        case list():
            return index.put_all(step)
        case str():
            return index.remove(step)
        case frozenset():
            return index.set_main_certificate_names(step)
    raise AssertionError(step)


@given(STEPS)
def test_any_history_ends_where_deciding_all_anew_ends(steps: list[object]) -> None:
    """Also: what changed is reported, exactly; no name has two owners; nobody owns what they do not claim."""
    index, known, main_names = NameOwnership(), dict[str, SiteClaims](), frozenset[str]()
    for step in steps:
        owned_before = {site: index.owned(site) for site in SITES}
        changed = apply(index, step)
        assert changed == {site for site in SITES if index.owned(site) != owned_before[site]}
        for each in step if isinstance(step, list) else [step]:
            if isinstance(each, SiteClaims):
                known[each.site] = each
        if isinstance(step, str):
            known.pop(step, None)
        if isinstance(step, frozenset):
            main_names = step
    anew = NameOwnership({site: index.numbers_of(site) for site in SITES}, main_names)
    anew.put_all(known.values())
    assert {site: anew.owned(site) for site in SITES} == {site: index.owned(site) for site in SITES}
    owned = [name for site in SITES for name in index.owned(site)]
    assert len(owned) == len(set(owned))
    for site in SITES:
        claimed = {*known[site].explicit, *known[site].implicit} if site in known else set()
        assert set(index.owned(site)) <= claimed
        for conflict in index.conflicts(site):
            assert site in {conflict.owner, conflict.loser}
            assert conflict.name in index.owned(conflict.owner)


def test_one_change_among_fifty_thousand_sites_costs_that_site_alone() -> None:
    index = NameOwnership()
    index.put_all(claims(f"s{i}", f"s{i}.test", f"m{i}.test", implicit=(f"x.s{i}.test",)) for i in range(50_000))
    started = time.perf_counter()
    for i in range(1000):
        assert index.put(claims(f"s{i}", f"s{i}.test", f"n{i}.test")) == {f"s{i}"}
    assert time.perf_counter() - started < 2, "going through all sites each time would take minutes"
