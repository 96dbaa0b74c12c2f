"""Key files as people have them."""

from pathlib import Path

import pytest

from certstore.acme.dns.tsig import read_tsig_key
from certstore.acme.dns.zone_writer import CannotWrite
from certstore.model.settings.dns import Rfc2136Settings

SECRET = "c2VjcmV0IG9mIHRoZSB6b25l"
BIND = f'key "certedge" {{\n\talgorithm hmac-sha512;\n\tsecret "{SECRET}";\n}};\n'
KNOT = f"# hmac-sha512:certedge:{SECRET}\nkey:\n- id: certedge\n  algorithm: hmac-sha512\n  secret: {SECRET}\n"
CERTBOT = (
    "# Target DNS server\ndns_rfc2136_server = 192.0.2.1\ndns_rfc2136_port = 53\ndns_rfc2136_name = certedge.\n"
    f"dns_rfc2136_secret = {SECRET}\ndns_rfc2136_algorithm = HMAC-SHA512\n"
)


def settings(path: Path, **given: str) -> Rfc2136Settings:
    return Rfc2136Settings.model_validate({"server": "127.0.0.1", "tsig_secret_file": path, **given})


@pytest.mark.parametrize(
    ("content", "given", "name", "algorithm"),
    [
        (BIND, {}, "certedge.", "hmac-sha512."),
        (BIND, {"tsig_name": "other", "tsig_algorithm": "hmac-sha256"}, "other.", "hmac-sha256."),
        (KNOT, {}, "certedge.", "hmac-sha512."),
        (CERTBOT, {}, "certedge.", "hmac-sha512."),
        (f"{SECRET}\n", {"tsig_name": "certedge."}, "certedge.", "hmac-sha256."),
        (f"\ufeff{SECRET}\r\n", {"tsig_name": "certedge"}, "certedge.", "hmac-sha256."),
    ],
    ids=["tsig-keygen", "settings come first", "keymgr", "certbot", "secret alone", "editor of Windows"],
)
def test_a_key_is_read(tmp_path: Path, content: str, given: dict[str, str], name: str, algorithm: str) -> None:
    path = tmp_path / "key"
    path.write_text(content, encoding="utf-8")
    found = read_tsig_key(path, settings(path, **given))
    assert (found.key.name.to_text(), found.key.algorithm.to_text()) == (name, algorithm)
    assert found.key.secret == b"secret of the zone"
    assert SECRET not in repr(found)


@pytest.mark.parametrize(
    ("content", "given", "said"),
    [
        (SECRET, {}, "holds only a secret"),
        ("not base64!", {"tsig_name": "k"}, "holds no TSIG key in base64"),
        ("", {"tsig_name": "k"}, "holds no TSIG key in base64"),
        (BIND.replace("sha512", "whirlpool"), {}, "has an algorithm that is not supported"),
    ],
    ids=["no name", "no base64", "empty", "odd algorithm"],
)
def test_another_file_is_refused_without_showing_it(
    tmp_path: Path, content: str, given: dict[str, str], said: str
) -> None:
    path = tmp_path / "key"
    path.write_text(content)
    with pytest.raises(CannotWrite, match=said) as refused:
        read_tsig_key(path, settings(path, **given))
    assert refused.value.needs_person
    assert SECRET not in str(refused.value)
    assert "base64!" not in str(refused.value)
