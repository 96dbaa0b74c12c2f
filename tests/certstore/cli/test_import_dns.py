"""What certbot and acme.sh wrote about how they proved names."""

from pathlib import Path

import pytest

from certstore.cli.import_dns import DnsOrigin, acme_sh_origin, certbot_origin, unproven
from certstore.model.settings.dns import DnsSettings

FILE = "credentials_file: FILE}, with dns-lexicon's options in that file"


@pytest.mark.parametrize(
    ("conf", "origin"),
    [
        ("authenticator = webroot\n", None),
        ("authenticator = manual\n", None),
        ("authenticator = manual\npref_challs = dns-01,\n", DnsOrigin("manual hooks", None)),
        ("authenticator = dns-cloudflare\n", DnsOrigin("dns-cloudflare", f"lexicon: {{provider: cloudflare, {FILE}")),
        ("authenticator = dns-google\n", DnsOrigin("dns-google", f"lexicon: {{provider: googleclouddns, {FILE}")),
        (
            "authenticator = certbot-dns-hetzner:dns-hetzner\n",
            DnsOrigin("dns-hetzner", f"lexicon: {{provider: hetzner, {FILE}"),
        ),
        ("authenticator = dns-homemade\n", DnsOrigin("dns-homemade", None)),
        ("", None),
    ],
    ids=["webroot", "manual", "manual over DNS", "cloudflare", "another name", "third party", "unknown", "nothing"],
)
def test_certbots_plugin_is_known(tmp_path: Path, conf: str, origin: DnsOrigin | None) -> None:
    path = tmp_path / "a.test.conf"
    path.write_text(f"version = 2.9.0\n[renewalparams]\naccount = one\n{conf}")
    assert certbot_origin(path) == origin


@pytest.mark.parametrize(
    ("webroot", "origin"),
    [
        ("/var/www", None),
        ("dns_cf", DnsOrigin("dns_cf", f"lexicon: {{provider: cloudflare, {FILE}")),
        ("dns_cf,dns_cf", DnsOrigin("dns_cf", f"lexicon: {{provider: cloudflare, {FILE}")),
        ("dns_cf,dns_gd", DnsOrigin("dns_cf, dns_gd", None)),
        ("dns_myown", DnsOrigin("dns_myown", None)),
        (
            "dns_nsupdate",
            DnsOrigin("dns_nsupdate", "rfc2136: {server: ns1.a.test:5353, tsig_secret_file: /etc/acme.key}"),
        ),
    ],
)
def test_acme_shs_plugin_is_known(tmp_path: Path, webroot: str, origin: DnsOrigin | None) -> None:
    (tmp_path / "a.test.conf").write_text(f"Le_Domain='a.test'\nLe_Webroot='{webroot}'\n")
    (tmp_path / "account.conf").write_text(
        "SAVED_NSUPDATE_SERVER='ns1.a.test'\nSAVED_NSUPDATE_SERVER_PORT='5353'\nSAVED_NSUPDATE_KEY='/etc/acme.key'\n"
        "SAVED_CF_Token='hunter2'\n"
    )
    assert acme_sh_origin(tmp_path / "a.test.conf", tmp_path / "account.conf") == origin


def test_files_that_are_not_there_or_not_text_say_nothing(tmp_path: Path) -> None:
    (tmp_path / "odd").write_bytes(b"\xff\xff\xff")
    assert certbot_origin(tmp_path / "gone") is None
    assert acme_sh_origin(tmp_path / "odd", tmp_path / "gone") is None


def test_names_without_a_way_are_found() -> None:
    dns = DnsSettings.model_validate({"zones": {"a.test": {"exec": ["/bin/hook"]}}})
    assert unproven(["a.test", "*.www.a.test", "b.test"], dns) == ["b.test"]
    assert unproven(["a.test"], None) == ["a.test"]
