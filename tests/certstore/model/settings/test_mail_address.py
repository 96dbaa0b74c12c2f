"""Addresses that any mail server takes, and nothing that could be more than one address."""

import pytest

from certstore.model.settings.loading import SettingsError, parse_settings, parse_site
from certstore.model.settings.mail_address import parse_address, parse_sender


@pytest.mark.parametrize(
    ("written", "parsed"),
    [
        ("ops@client-a.com", "ops@client-a.com"),
        ("  ops+certs@Client-A.com\n", "ops+certs@client-a.com"),
        ("ops@müller.example", "ops@xn--mller-kva.example"),
        ("root@localhost", "root@localhost"),
        ("o'brien@example.com", "o'brien@example.com"),
    ],
)
def test_one_address_is_accepted_in_the_form_that_servers_know(written: str, parsed: str) -> None:
    assert parse_address(written) == parsed


REFUSED = {
    "a line end in it": "ops@a.test\nBcc: victim@b.test",
    "two lines": "ops@a.test\nboss@a.test",
    "a line separator": "ops@a.test\u2028boss@a.test",
    "two addresses": "ops@a.test, boss@a.test",
    "two addresses, as one mail program writes them": "ops@a.test;boss@a.test",
    "no domain": "ops",
    "no local part": "@a.test",
    "nothing": "",
    "a URL": "mailto:ops@a.test",
    "a local part that needs SMTPUTF8": "jörg@a.test",
    "a NUL": "ops\0@a.test",
    "a group": "undisclosed:;",
    "a local part without end": "x" * 70_000 + "@a.test",
}


@pytest.mark.parametrize("written", REFUSED.values(), ids=REFUSED)
def test_anything_else_is_refused_with_an_example(written: str) -> None:
    with pytest.raises(ValueError, match=r"for example ops@example\.com"):
        parse_address(written)


def test_a_sender_may_have_a_name_and_no_second_line() -> None:
    assert parse_sender("Edge <edge@example.org>") == "Edge <edge@example.org>"
    assert parse_sender("edge@example.org") == "edge@example.org"
    for written in ("Edge\nBcc: x@y.test <edge@example.org>", "Edge", "Edge <edge>"):
        with pytest.raises(ValueError, match="expected"):
            parse_sender(written)


def test_settings_take_no_contact_that_would_end_a_header() -> None:
    with pytest.raises(SettingsError, match=r"site.yaml:2: contact\[0\]"):
        parse_site('host: a.test\ncontact: ["ops@a.test\\nboss@a.test"]\n', "site.yaml")
    for key in ("notify: {to: ['a, b']}", "acme: {contact: ['a, b']}", "notify: {from: 'a'}"):
        with pytest.raises(SettingsError):
            parse_settings(key, "edge.yaml")


def test_a_site_has_a_few_contacts() -> None:
    names = [f"a{number}@a.test" for number in range(11)]
    assert len(parse_site(f"host: a.test\ncontact: {names[:10]}\n", "site.yaml").contact) == 10
    with pytest.raises(SettingsError, match=r"site.yaml:2: contact: 11 contacts, and a site may have 10"):
        parse_site(f"host: a.test\ncontact: {names}\n", "site.yaml")
