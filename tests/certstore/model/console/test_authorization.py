"""Every action with every kind of grant, for an own and for another site: written out, so that a change of the rules
must change this table."""

import pytest

from certstore.model.console.authorization import (
    RULES,
    Action,
    Grant,
    Reach,
    Scope,
    Verdict,
    action_for_change,
    authorize,
)

OWN, OTHER = "own.test", "other.test"
BOUND = frozenset({OWN})
GRANTS = {
    "administrator": Grant(Scope.ADMIN),
    "operator": Grant(Scope.OPERATE),
    "reader": Grant(Scope.READ),
    "bound administrator": Grant(Scope.ADMIN, BOUND),
    "domain administrator": Grant(Scope.OPERATE, BOUND),
    "bound reader": Grant(Scope.READ, BOUND),
}
# Per action: what each grant of GRANTS, in their order, gets for the own site and for the other one.
# y: allowed, n: forbidden, h: hidden.
SITE_READ = "yy yy yy yh yh yh"
SITE_OPERATE = "yy yy nn yh yh nh"
SITE_ADMIN = "yy nn nn yh nh nh"
WHOLE_READ = "yy yy yy nn nn nn"
WHOLE_ADMIN = "yy nn nn nn nn nn"
ANYBODY = "yy yy yy yy yy yy"
EXPECTED = {
    Action.SITES_LIST: ANYBODY,
    Action.SITE_VIEW: SITE_READ,
    Action.SITE_ADD: WHOLE_ADMIN,
    Action.SITE_CHANGE: SITE_ADMIN,
    Action.SITE_SET_SOURCE: SITE_OPERATE,
    Action.SITE_REMOVE: SITE_ADMIN,
    Action.SITE_PREFLIGHT: SITE_OPERATE,
    Action.SITE_VERIFY: SITE_READ,
    Action.CERT_PREVIEW: SITE_OPERATE,
    Action.CERT_INSTALL: SITE_OPERATE,
    Action.CERT_ACTIVATE: SITE_OPERATE,
    Action.CERT_ORDER: SITE_OPERATE,
    Action.SERVICE_VIEW: WHOLE_READ,
    Action.ACCOUNT_REGISTER: WHOLE_ADMIN,
    Action.NOTIFY_TEST: WHOLE_ADMIN,
    Action.USERS_VIEW: WHOLE_ADMIN,
    Action.USER_ADD: WHOLE_ADMIN,
    Action.USER_CHANGE: WHOLE_ADMIN,
    Action.USER_INVITE: WHOLE_ADMIN,
    Action.USER_REMOVE: WHOLE_ADMIN,
    Action.TOKENS_VIEW: WHOLE_ADMIN,
    Action.TOKEN_ADD: WHOLE_ADMIN,
    Action.TOKEN_REMOVE: WHOLE_ADMIN,
    Action.AUDIT_VIEW: WHOLE_ADMIN,
    Action.PROFILE_VIEW: ANYBODY,
    Action.PROFILE_CHANGE: ANYBODY,
}
LETTERS = {Verdict.ALLOWED: "y", Verdict.FORBIDDEN: "n", Verdict.HIDDEN: "h"}


def test_every_action_has_a_rule_and_a_row_here() -> None:
    assert set(RULES) == set(Action) == set(EXPECTED)


@pytest.mark.parametrize("action", Action)
def test_verdicts_are_those_of_the_table(action: Action) -> None:
    found = " ".join(
        "".join(LETTERS[authorize(grant, action, site)] for site in (OWN, OTHER)) for grant in GRANTS.values()
    )
    assert found == EXPECTED[action], dict(zip(GRANTS, found.split(), strict=True))


@pytest.mark.parametrize("action", [action for action, rule in RULES.items() if rule.reach is Reach.SITE])
def test_action_on_a_site_without_a_site_is_never_allowed(action: Action) -> None:
    assert authorize(Grant(Scope.ADMIN), action) is Verdict.HIDDEN


def test_token_has_no_account() -> None:
    assert authorize(Grant(Scope.ADMIN, is_person=False), Action.PROFILE_CHANGE) is Verdict.FORBIDDEN


@pytest.mark.parametrize("key", ["host", "additional_names", "upstream", "inspect", "something_new"])
def test_change_that_reaches_beyond_the_site_requires_more(key: str) -> None:
    assert action_for_change(frozenset({"certificate", key})) is Action.SITE_CHANGE
    assert action_for_change(frozenset({"certificate", "contact"})) is Action.SITE_SET_SOURCE
