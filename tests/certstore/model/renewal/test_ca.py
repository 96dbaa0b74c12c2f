import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certstore.model.renewal.ca import ca_key, configured_cas, find_ca
from certstore.model.settings.models import AcmeSettings


@pytest.mark.parametrize(
    ("directory", "key"),
    [
        ("letsencrypt", "acme-v02.api.letsencrypt.org"),
        ("letsencrypt-staging", "acme-staging-v02.api.letsencrypt.org"),
        ("https://ca.test:14000/dir", "ca.test-14000-dir"),
        ("https://ca.test/acme/one/directory", "ca.test-acme-one-directory"),
        ("https://ca.test/acme/two/directory", "ca.test-acme-two-directory"),
        ("https://[::1]/", "1"),
    ],
)
def test_key_of_a_ca_is_its_host_and_what_sets_it_apart(directory: str, key: str) -> None:
    assert find_ca(directory).key == key


@given(st.text())
def test_any_url_gives_a_key_that_is_one_file_name(path: str) -> None:
    key = ca_key("https://ca.test/" + path.replace("[", "").replace("]", ""))
    assert re.fullmatch(r"[a-z0-9.-]{1,120}", key)
    assert key.startswith("ca.test")


def test_second_directory_that_is_the_first_is_no_second_ca() -> None:
    assert len(configured_cas(AcmeSettings())) == 1
    assert len(configured_cas(AcmeSettings(second_directory="letsencrypt"))) == 1
    both = configured_cas(AcmeSettings(second_directory="https://ca.test/dir"))
    assert [ca.key for ca in both] == ["acme-v02.api.letsencrypt.org", "ca.test-dir"]
