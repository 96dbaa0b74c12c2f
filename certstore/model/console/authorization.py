"""Who may do what to which site: one table, and the function that reads it.

A `Grant` is what a person or a token may do; a `Rule` is what an action requires. A grant for some sites never reveals
whether another site exists. Pure: must not know users, requests or pages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from certstore.model.settings.tenant import TENANT_KEYS


class Scope(StrEnum):
    """Each includes the ones before it."""

    READ = "read"
    OPERATE = "operate"
    ADMIN = "admin"

    def includes(self, other: Scope) -> bool:
        order = tuple(Scope)
        return order.index(self) >= order.index(other)


class Reach(StrEnum):
    """What an action is about. `LISTED` shows only the sites that the grant reaches; `WHOLE` needs a grant for all
    sites; `PERSON` is the person's own account, which a token does not have."""

    SITE = "site"
    LISTED = "listed"
    WHOLE = "whole"
    PERSON = "person"


class Action(StrEnum):
    """Everything that the console and its API do. The values appear in the audit log."""

    SITES_LIST = "sites.list"
    SITE_VIEW = "site.view"
    SITE_ADD = "site.add"
    SITE_CHANGE = "site.change"
    SITE_SET_SOURCE = "site.set_source"
    SITE_REMOVE = "site.remove"
    SITE_PREFLIGHT = "site.preflight"
    SITE_VERIFY = "site.verify"
    CERT_PREVIEW = "cert.preview"
    CERT_INSTALL = "cert.install"
    CERT_ACTIVATE = "cert.activate"
    CERT_ORDER = "cert.order"
    SERVICE_VIEW = "service.view"
    ACCOUNT_REGISTER = "account.register"
    NOTIFY_TEST = "notify.test"
    USERS_VIEW = "users.view"
    USER_ADD = "user.add"
    USER_CHANGE = "user.change"
    USER_INVITE = "user.invite"
    USER_REMOVE = "user.remove"
    TOKENS_VIEW = "tokens.view"
    TOKEN_ADD = "token.add"  # noqa: S105  # an action's name
    TOKEN_REMOVE = "token.remove"  # noqa: S105
    AUDIT_VIEW = "audit.view"
    PROFILE_VIEW = "profile.view"
    PROFILE_CHANGE = "profile.change"


@dataclass(frozen=True, slots=True)
class Grant:
    """`sites` is None for all sites, future ones included."""

    scope: Scope
    sites: frozenset[str] | None = None
    is_person: bool = True

    def reaches(self, site: str) -> bool:
        return self.sites is None or site in self.sites


@dataclass(frozen=True, slots=True)
class Rule:
    scope: Scope
    reach: Reach


# Names, upstreams and the like reach beyond one site: a name could be somebody else's, an upstream is an address in the
# operator's network. So a domain administrator chooses where the certificate comes from, and no more.
_ACTIONS: Mapping[Rule, tuple[Action, ...]] = {
    Rule(Scope.READ, Reach.LISTED): (Action.SITES_LIST,),
    Rule(Scope.READ, Reach.SITE): (Action.SITE_VIEW, Action.SITE_VERIFY),
    Rule(Scope.OPERATE, Reach.SITE): (
        Action.SITE_SET_SOURCE, Action.SITE_PREFLIGHT,
        Action.CERT_PREVIEW, Action.CERT_INSTALL, Action.CERT_ACTIVATE, Action.CERT_ORDER,
    ),
    Rule(Scope.ADMIN, Reach.SITE): (Action.SITE_CHANGE, Action.SITE_REMOVE),
    Rule(Scope.READ, Reach.WHOLE): (Action.SERVICE_VIEW,),
    Rule(Scope.ADMIN, Reach.WHOLE): (
        Action.SITE_ADD, Action.ACCOUNT_REGISTER, Action.NOTIFY_TEST, Action.AUDIT_VIEW,
        Action.USERS_VIEW, Action.USER_ADD, Action.USER_CHANGE, Action.USER_INVITE, Action.USER_REMOVE,
        Action.TOKENS_VIEW, Action.TOKEN_ADD, Action.TOKEN_REMOVE,
    ),
    Rule(Scope.READ, Reach.PERSON): (Action.PROFILE_VIEW, Action.PROFILE_CHANGE),
}  # fmt: skip
RULES: Mapping[Action, Rule] = {action: rule for rule, actions in _ACTIONS.items() for action in actions}


class Verdict(StrEnum):
    """`HIDDEN` is answered as if there were no such site."""

    ALLOWED = "allowed"
    FORBIDDEN = "forbidden"
    HIDDEN = "hidden"


def authorize(grant: Grant, action: Action, site: str | None = None) -> Verdict:
    """`site` is needed for actions on one site and ignored for others."""
    rule = RULES[action]
    if rule.reach is Reach.SITE and (site is None or not grant.reaches(site)):
        return Verdict.HIDDEN
    is_reached = rule.reach is not Reach.WHOLE or grant.sites is None
    is_reached = is_reached and (rule.reach is not Reach.PERSON or grant.is_person)
    return Verdict.ALLOWED if is_reached and grant.scope.includes(rule.scope) else Verdict.FORBIDDEN


SOURCE_KEYS = TENANT_KEYS
"""Keys of site.yaml that `SITE_SET_SOURCE` covers; any other key requires `SITE_CHANGE`."""


def action_for_change(keys: frozenset[str]) -> Action:
    """The action that changing these keys of an existing site requires."""
    return Action.SITE_SET_SOURCE if keys <= SOURCE_KEYS else Action.SITE_CHANGE
