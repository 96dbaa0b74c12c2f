"""What a ClientHello gets, decided on a real plane; `whole/test_tls_alpn01` shows the handshakes that follow."""

from pathlib import Path

import pytest

from certstore.model.settings.models import ListenerSettings
from edge_addon.listeners.tls_choice import Chosen, Refused, choose_context
from edge_addon.transport.alpn import NO_APPLICATION_PROTOCOL
from edge_addon.transport.tls_stage import INTERNAL_ERROR, UNRECOGNIZED_NAME, Hello
from tests.descriptors import no_free_descriptor
from tests.edge_addon.relay.edge import entry, relay_edge
from tests.edge_addon.transport.test_alpn import hello as hello_bytes
from tests.loops import in_loop

SITES = (entry("a.test", "a.test"),)
UPSTREAM = "http://127.0.0.1:9"
HTTPS = ListenerSettings.model_validate({"kind": "https", "listen": "127.0.0.1:443"})
IMAPS = ListenerSettings.model_validate({"kind": "imaps", "listen": "127.0.0.1:993", "upstream": "127.0.0.1:143"})
PROOF = "t" * 43 + "." + "k" * 43


def hello(name: str | None, *protocols: str) -> Hello:
    return Hello(hello_bytes(*protocols), name, UNRECOGNIZED_NAME)


def publish(folder: Path, name: str) -> None:
    path = folder / "store" / "tls-alpn-01" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(PROOF)


@in_loop
async def test_name_gets_its_site_s_context_and_mail_gets_main_s(tmp_path: Path) -> None:
    async with relay_edge(tmp_path, UPSTREAM, sites=SITES, kind="https") as edge:
        for listener, name, site in ((HTTPS, "a.test", "a.test"), (HTTPS, "b.test", "main"), (IMAPS, "a.test", "main")):
            chosen = choose_context(edge.plane, listener, hello(name))
            assert isinstance(chosen, Chosen)
            assert chosen.selection is not None
            assert chosen.selection.certificate.site == site
            again = choose_context(edge.plane, listener, hello(name))
            assert isinstance(again, Chosen)
            assert chosen.context == again.context


@in_loop
async def test_site_that_can_not_be_loaded_gets_main_s_context(tmp_path: Path) -> None:
    async with relay_edge(tmp_path, UPSTREAM, sites=SITES, kind="https") as edge:
        for path in edge.plane.layout.version("a.test", 1).iterdir():
            path.unlink()
        chosen = choose_context(edge.plane, HTTPS, hello("a.test"))
        assert isinstance(chosen, Chosen)
        assert chosen.selection is not None
        assert chosen.selection.certificate.site == "main"
        assert edge.plane.counters["certificate_unreadable"] == 1


@pytest.mark.parametrize(
    ("listener", "name", "protocols", "expected"),
    [
        (HTTPS, "b.test", (), Refused("tls_unknown_name", UNRECOGNIZED_NAME)),
        (HTTPS, "a.test", ("imap",), Refused("tls_alpn_refused", NO_APPLICATION_PROTOCOL)),
        (HTTPS, "b.test", ("acme-tls/1",), Refused("tls_alpn_refused", NO_APPLICATION_PROTOCOL)),
        (HTTPS, "proven.test", ("acme-tls/1", "h2"), Refused("tls_alpn_refused", NO_APPLICATION_PROTOCOL)),
        (IMAPS, "proven.test", ("acme-tls/1",), Refused("tls_alpn_refused", NO_APPLICATION_PROTOCOL)),
        (IMAPS, "proven.test", ("acme-tls/1", "imap"), Refused("tls_alpn_refused", NO_APPLICATION_PROTOCOL)),
    ],
)
@in_loop
async def test_refusal_has_its_cause_and_its_alert(
    listener: ListenerSettings, name: str, protocols: tuple[str, ...], expected: Refused, tmp_path: Path
) -> None:
    settings = {"tls": {"unknown_name": "reject"}}
    async with relay_edge(tmp_path, UPSTREAM, sites=SITES, kind="https", **settings) as edge:
        publish(tmp_path, "proven.test")
        assert choose_context(edge.plane, listener, hello(name, *protocols)) == expected


@in_loop
async def test_validation_has_no_selection_and_a_new_context_each_time(tmp_path: Path) -> None:
    async with relay_edge(tmp_path, UPSTREAM, sites=SITES, kind="https", tls={"unknown_name": "reject"}) as edge:
        publish(tmp_path, "new.test")
        chosen, again = (choose_context(edge.plane, HTTPS, hello("new.test", "acme-tls/1")) for _ in range(2))
        assert isinstance(chosen, Chosen)
        assert isinstance(again, Chosen)
        assert chosen.selection is None
        assert chosen.context is not again.context


@in_loop
async def test_want_of_descriptors_is_a_refusal_that_passes(tmp_path: Path) -> None:
    async with relay_edge(tmp_path, UPSTREAM, sites=SITES, kind="https") as edge:
        publish(tmp_path, "new.test")
        with no_free_descriptor():
            assert choose_context(edge.plane, HTTPS, hello("a.test")) == Refused("tls_out_of_files", INTERNAL_ERROR)
            assert isinstance(choose_context(edge.plane, HTTPS, hello("new.test", "acme-tls/1")), Refused)
        for name, protocols in (("a.test", ()), ("new.test", ("acme-tls/1",))):
            assert isinstance(choose_context(edge.plane, HTTPS, hello(name, *protocols)), Chosen)
