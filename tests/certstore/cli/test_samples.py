"""Whatever is said to `init`, its settings are YAML that says the same."""

import pytest
import yaml

from certstore.cli.samples import SAMPLES


@pytest.mark.parametrize("sample", SAMPLES)
def test_blanks_are_filled_as_yaml(sample: str) -> None:
    text = SAMPLES[sample].filled(
        host="mail.edge.test",
        store="/srv/a: b #c",
        upstreams=["http://[2001:db8::1]:80", "unix:/run/a b"],
        balancers=["2001:db8::1", "192.0.2.1"],
    )
    facts = yaml.safe_load(text)
    assert facts["store"] == "/srv/a: b #c"
    assert facts["upstream"] == ["http://[2001:db8::1]:80", "unix:/run/a b"]
    if SAMPLES[sample].asks_for_balancers:
        assert facts["trusted_proxies"] == ["2001:db8::1", "192.0.2.1"]
    assert "{" not in text.replace("{kind", "").replace("{path", "").replace("{contact", "")


@pytest.mark.parametrize("sample", SAMPLES)
def test_one_server_is_no_list(sample: str) -> None:
    text = SAMPLES[sample].filled(host="a.test", store="./store", upstreams=["http://a.test:80"], balancers=[])
    assert yaml.safe_load(text)["upstream"] == "http://a.test:80"
    assert text.startswith(f"# {SAMPLES[sample].title}")
