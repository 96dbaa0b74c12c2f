"""Why the store can't do what it was asked to: a few kinds of errors, each with a message for people."""

from __future__ import annotations


class UnknownSite(LookupError):
    """There is no such site."""

    def __init__(self, site: str) -> None:
        super().__init__(f"there is no site {site!r}")
        self.site = site


class UnknownVersion(LookupError):
    """The site has no such version, or it is incomplete; the message lists those that there are."""


class InvalidSite(ValueError):
    """The request is not possible for this site: a bad key, settings that are not allowed, removing the main site."""


class NotWritable(Exception):
    """A site.yaml could not be written; the message says why and what to do. Nothing was changed."""


class TooBusy(Exception):
    """Too much work for the same caller is under way; trying again later helps."""
