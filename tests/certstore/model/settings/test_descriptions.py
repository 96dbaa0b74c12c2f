"""Nothing is described that is no setting any more, in words of one kind."""

from certstore.model.settings.descriptions import EDGE, SITE
from certstore.model.settings.models import Settings, SiteSettings
from certstore.model.settings.reference import settings_of


def test_each_description_is_of_a_setting() -> None:
    assert set(EDGE) <= {each.key for each in settings_of(Settings, EDGE)}
    assert set(SITE) <= {each.key for each in settings_of(SiteSettings, {**EDGE, **SITE})}


def test_descriptions_are_whole_sentences_in_ascii() -> None:
    for key, words in {**EDGE, **SITE}.items():
        assert words.isascii(), key
        assert words.endswith("."), key
        assert len(words) < 250, key
