"""Every setting of the models, with its default: the annotated file loads as if nothing were set."""

import re
from typing import Literal

import pytest
from pydantic import BaseModel, Field

from certstore.model.settings import reference
from certstore.model.settings.descriptions import EDGE, SITE
from certstore.model.settings.loading import parse_settings
from certstore.model.settings.models import Settings, SiteSettings
from certstore.model.settings.reference import Nature, annotated_settings, settings_of

TEXT = annotated_settings(EDGE, SITE)


def test_annotated_file_says_the_defaults() -> None:
    assert parse_settings(TEXT, "edge.yaml") == Settings()


def test_every_key_is_there_once_with_what_it_means() -> None:
    keys = [each.key for each in settings_of(Settings, EDGE)]
    assert len(keys) == len(set(keys))
    assert {
        "store",
        "tls.minimum_version",
        "listeners[].upstream_tls",
        "notify.from",
        "acme.external_account.key_id",
    } <= set(keys)
    shown = re.findall(r"^ *(?:# +)?(?:- )?([a-z_0-9]+):", TEXT, re.MULTILINE)
    for each in settings_of(Settings, EDGE):
        assert each.name in shown, each.key
        assert each.meaning


def test_keys_that_are_comments_are_settings_too() -> None:
    text = TEXT.partition("# Every setting of a site.yaml")[0]
    text = re.sub(r"^( *)# smtp:", r"\1smtp:", text, flags=re.MULTILINE)
    text = re.sub(r"^    # host:", "    host: mx.test", text, flags=re.MULTILINE)
    text = re.sub(r"^    # (port|security): ", r"    \1: ", text, flags=re.MULTILINE)
    smtp = parse_settings(text, "edge.yaml").notify.smtp
    assert smtp is not None
    assert (smtp.host, smtp.port, smtp.security) == ("mx.test", 587, "starttls")


class Inner(BaseModel):
    size: int = Field(5, ge=1, le=9)
    """How much of it.

    Rarely changed."""


class Outer(BaseModel):
    mode: Literal["a", "b"] = "a"
    group: Inner = Inner()
    block: Inner | None = None
    entries: tuple[Inner, ...] = ()
    made: dict[str, str] = Field(default_factory=dict)


def test_nature_default_and_bounds_of_each_kind_of_setting() -> None:
    words = dict.fromkeys(("mode", "group", "block", "entries", "made"), "x")
    found = {each.key: each for each in settings_of(Outer, words)}
    assert [(key, each.nature, each.default) for key, each in found.items()] == [
        ("mode", Nature.VALUE, "a"),
        ("group", Nature.GROUP, ""),
        ("group.size", Nature.VALUE, "5"),
        ("block", Nature.BLOCK, ""),
        ("block.size", Nature.VALUE, "5"),
        ("entries", Nature.ENTRIES, "[]"),
        ("entries[].size", Nature.VALUE, "5"),
        ("made", Nature.VALUE, "{}"),
    ]
    assert found["mode"].allowed == "a or b"
    assert found["group.size"].allowed == "a whole number from 1 up to 9"
    assert found["group.size"].meaning == "How much of it. Rarely changed."


def test_setting_that_nothing_describes_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "_below_field", lambda model, name: "")
    with pytest.raises(KeyError, match="store is described neither"):
        list(settings_of(Settings, {}))
    with pytest.raises(KeyError, match="host is described neither"):
        list(settings_of(SiteSettings, {}))
