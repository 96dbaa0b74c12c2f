"""The mode of one listener inside mitmproxy."""

import pytest
from mitmproxy.proxy.mode_specs import ProxyMode

from edge_addon.addon.mode import EdgeMode, mode_spec


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "::"])
def test_a_mode_names_its_listener_and_address(host: str) -> None:
    mode = ProxyMode.parse(mode_spec(7, host, 8443))
    assert isinstance(mode, EdgeMode)
    assert (mode.index, mode.custom_listen_host, mode.custom_listen_port) == (7, host, 8443)


@pytest.mark.parametrize("spec", ["edge:@127.0.0.1:1", "edge:x@127.0.0.1:1", "edge:-1@127.0.0.1:1", "edge:\u0661@:1"])
def test_a_mode_that_names_no_listener_is_refused(spec: str) -> None:
    with pytest.raises(ValueError, match="INDEX"):
        ProxyMode.parse(spec)
