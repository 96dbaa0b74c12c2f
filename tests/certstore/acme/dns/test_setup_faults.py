"""Faults of `acme.dns` that this machine can see by itself."""

from pathlib import Path
from typing import Any

import pytest

from certstore.acme.dns.setup_faults import find_setup_faults
from certstore.model.settings.dns import DnsSettings

KEY = {"server": "127.0.0.1", "tsig_name": "k", "tsig_secret_file": "key"}


@pytest.mark.parametrize(
    ("way", "key", "said"),
    [
        ({"rfc2136": KEY}, None, ""),
        ({"rfc2136": KEY | {"tsig_secret_file": "gone"}}, "acme.dns.rfc2136.tsig_secret_file", "can't be read"),
        ({"rfc2136": KEY | {"tsig_secret_file": "bad"}}, "acme.dns.rfc2136.tsig_secret_file", "no TSIG key"),
        ({"exec": ["/bin/true"]}, None, ""),
        ({"exec": ["/nowhere"]}, "acme.dns.exec", "is not a program"),
        ({"exec": {"command": ["/bin/true"], "credentials_file": "gone"}}, "acme.dns.exec.credentials_file", "gone"),
        ({"lexicon": {"provider": "nobody"}}, "acme.dns.lexicon.provider", "nobody"),
        (
            {"lexicon": {"provider": "hetzner", "credentials_file": "bad"}},
            "acme.dns.lexicon.credentials_file",
            "line 1 is not `name: value`",
        ),
    ],
)
def test_faults_name_their_setting(tmp_path: Path, way: dict[str, Any], key: str | None, said: str) -> None:
    (tmp_path / "key").write_text("c2VjcmV0")
    (tmp_path / "bad").write_text("hunter2!")
    found = find_setup_faults(DnsSettings.model_validate(way), tmp_path)
    assert [each.key for each in found] == ([key] if key else [])
    assert all(said in each.found and "hunter2" not in each.found + each.remedy for each in found)
