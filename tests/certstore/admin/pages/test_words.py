"""How pages word facts."""

from datetime import UTC, datetime

import pytest

from certstore.admin.pages import words
from certstore.control.commands.table import COMMANDS
from certstore.model.console.authorization import Action


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("the certificate expired", "The certificate expired"),
        ("webmail.client.test: no answer", "webmail.client.test: no answer"),
        ("edge.yaml has no listeners", "edge.yaml has no listeners"),
        ("", ""),
    ],
)
def test_messages_start_with_a_capital_letter_and_names_stay_as_they_are(message: str, shown: str) -> None:
    assert words.sentence(message) == shown


def test_every_code_of_the_audit_log_has_words() -> None:
    codes = {action.value for action in Action} | {each.action for each in COMMANDS.values() if each.action}
    assert codes | {"sign_in", "sign_out", "set_up", "settings.apply"} <= words.AUDITED.keys()
    assert len(set(words.AUDITED.values())) == len(words.AUDITED)


@pytest.mark.parametrize(
    ("text", "is_day"), [("2026-03-05", True), ("", False), ("5 March", False), ("9" * 500, False)]
)
def test_days_of_a_form(text: str, is_day: bool) -> None:
    assert (words.read_day(text) is not None) is is_day


def test_lists_are_split_at_commas_and_white_space() -> None:
    assert words.split_list(" a@x.test, b@x.test\nc@x.test ") == ["a@x.test", "b@x.test", "c@x.test"]


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("acme:letsencrypt", "ordered from letsencrypt"),
        ("import:certbot", "imported from certbot"),
        ("upload", "uploaded"),
        ("domains/a.test/all.pem", "dropped: domains/a.test/all.pem"),
        ("something else", "something else"),
    ],
)
def test_source_of_a_version_in_words(source: str, shown: str) -> None:
    assert words.came_from(source) == shown


def test_instants_are_in_utc_and_a_missing_one_is_a_dash() -> None:
    at = datetime(2026, 12, 4, 14, 5, tzinfo=UTC)
    assert (words.day(at), words.minute(at)) == ("4 Dec 2026", "4 Dec 2026, 14:05 UTC")
    assert (words.day(None), words.minute(None), words.from_now(None, at)) == ("—", "—", "—")


def test_keys_fingerprints_and_settings_in_words() -> None:
    assert (words.key_in_words("ec", 256), words.key_in_words("rsa", 3072)) == ("EC, P-256", "RSA, 3072 bits")
    assert words.grouped("0aff") == "0A:FF"
    assert words.setting_in_words(["a", "b"]) == "a, b"
    assert words.setting_in_words([{"url": "http://a"}]) == '[{"url": "http://a"}]'
