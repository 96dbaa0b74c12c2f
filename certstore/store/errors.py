"""What a store can't do when it is asked to: few kinds, each with words for the person who asked."""

from __future__ import annotations


class UnknownSite(LookupError):
    """There is no such site."""

    def __init__(self, site: str) -> None:
        super().__init__(f"there is no site {site!r}")
        self.site = site

    def __str__(self) -> str:
        return str(self.args[0])


class UnknownVersion(LookupError):
    """The site has no such version, or it is not whole; the message says which there are."""


class InvalidSite(ValueError):
    """What was asked for a site can't be: a bad key, settings that are not allowed, the main site removed."""


class NotWritable(Exception):
    """A site.yaml could not be written; the message says why and what to do. Nothing was changed."""
