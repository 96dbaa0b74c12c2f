"""The context cache: one context per version and purpose, bounded, and usable when files can't be read.

What intake lets in is what the cache can serve: a table of odd certificates goes through both.
"""

import contextlib
import hashlib
import itertools
import shutil
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from certstore.model.certificate.dropped_file import DroppedFile
from certstore.model.layout import Layout
from certstore.model.record import Outcome
from certstore.model.settings.models import Settings
from certstore.model.snapshot import ServedCertificate
from certstore.model.unloadable import Unloadable
from certstore.net.memory_handshake import shake_hands
from certstore.store.writer import StoreWriter
from edge_addon.transport.served_contexts import served_contexts
from edge_addon.transport.tls_contexts import MAXIMUM_AGE_SECONDS, RETRY_SECONDS, ContextCache, OutOfFiles
from tests.certificates import CertificateAuthority, Issued
from tests.certstore.store.test_trial import ODD_PAIRS
from tests.certstore.stores import writing
from tests.descriptors import no_free_descriptor
from tests.odd_certificates import NAME, make

CA = CertificateAuthority()


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(layout: Layout, clock: Clock) -> ContextCache:
    return ContextCache(layout, Settings(), capacity=2, monotonic=clock)


def publish(layout: Layout, site: str, version: int, issued: Issued, *, rsa: Issued | None = None) -> ServedCertificate:
    """Write the files of a version and make it live."""
    folder = layout.version(site, version)
    issued.write_to(folder)
    if rsa is not None:
        (folder / "fullchain-rsa.pem").write_bytes(rsa.fullchain_pem)
        (folder / "privkey-rsa.pem").write_bytes(rsa.privkey_pem)
    layout.live_folder.mkdir(exist_ok=True)
    layout.live(site).unlink(missing_ok=True)
    layout.live(site).symlink_to(layout.live_target(site, version))
    return ServedCertificate(
        site, version, issued.fingerprint, issued.dns_names, issued.not_before, issued.not_after, False, rsa is not None
    )


def test_without_a_free_descriptor_no_other_certificate_is_served(layout: Layout, cache: ContextCache) -> None:
    old = publish(layout, "a.test", 1, CA.issue("a.test"))
    before = cache.get(old, is_mail=False)
    new = publish(layout, "a.test", 2, CA.issue("a.test"))
    other = publish(layout, "b.test", 1, CA.issue("b.test"))

    with no_free_descriptor():
        assert cache.get(new, is_mail=False) is before
        with pytest.raises(OutOfFiles):
            cache.get(other, is_mail=False)

    assert cache.get(new, is_mail=False) not in (None, before)
    assert cache.get(other, is_mail=False) is not None


def test_descriptors_that_run_out_before_a_stand_in_is_found_are_no_fault_of_the_site(
    layout: Layout, cache: ContextCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = publish(layout, "a.test", 1, CA.issue("a.test"))

    def refuse(*_: object) -> None:
        raise ssl.SSLError

    with monkeypatch.context() as patch, no_free_descriptor():
        patch.setattr("edge_addon.transport.tls_contexts.load_version", refuse)
        with pytest.raises(OutOfFiles):
            cache.get(served, is_mail=False)
        cache.warm(1)

    assert cache.get(served, is_mail=False) is not None


def test_the_same_version_gives_the_same_context(layout: Layout, cache: ContextCache) -> None:
    served = publish(layout, "a.test", 1, CA.issue("a.test"))

    assert cache.get(served, is_mail=False) is cache.get(served, is_mail=False)


def test_another_version_site_or_purpose_gives_another_context(layout: Layout, cache: ContextCache) -> None:
    a1 = publish(layout, "a.test", 1, CA.issue("a.test"))
    a2 = publish(layout, "a.test", 2, CA.issue("a.test"))
    b1 = publish(layout, "b.test", 1, CA.issue("b.test"))

    contexts = [cache.get(a1, is_mail=False), cache.get(a2, is_mail=False), cache.get(b1, is_mail=False)]
    contexts.append(cache.get(b1, is_mail=True))

    assert None not in contexts
    assert len({id(context) for context in contexts}) == len(contexts)


def test_the_cache_is_bounded_and_drops_the_least_recently_used(layout: Layout, cache: ContextCache) -> None:
    sites = {site: publish(layout, site, 1, CA.issue(site)) for site in ("a.test", "b.test", "c.test")}
    first = {site: cache.get(sites[site], is_mail=False) for site in ("a.test", "b.test")}
    cache.get(sites["a.test"], is_mail=False)
    cache.get(sites["c.test"], is_mail=False)

    assert cache.get(sites["a.test"], is_mail=False) is first["a.test"]
    assert cache.get(sites["b.test"], is_mail=False) is not first["b.test"]


def test_a_day_old_context_is_rebuilt_for_fresh_ticket_keys(layout: Layout, cache: ContextCache, clock: Clock) -> None:
    served = publish(layout, "a.test", 1, CA.issue("a.test"))
    first = cache.get(served, is_mail=False)
    clock.now += MAXIMUM_AGE_SECONDS - 1
    assert cache.get(served, is_mail=False) is first

    clock.now += 2

    assert cache.get(served, is_mail=False) is not first


def test_a_pruned_version_is_replaced_by_the_live_one(layout: Layout, cache: ContextCache) -> None:
    old = publish(layout, "a.test", 1, CA.issue("a.test"))
    publish(layout, "a.test", 2, CA.issue("a.test"))
    shutil.rmtree(layout.version("a.test", 1))

    assert cache.get(old, is_mail=False) is not None


def test_unreadable_files_keep_the_last_good_context(layout: Layout, cache: ContextCache) -> None:
    good = publish(layout, "a.test", 1, CA.issue("a.test"))
    first = cache.get(good, is_mail=False)
    bad = publish(layout, "a.test", 2, CA.issue("a.test"))
    (layout.version("a.test", 2) / "privkey.pem").write_bytes(CA.issue("a.test").privkey_pem)

    assert cache.get(bad, is_mail=False) is first


def test_unreadable_files_without_a_last_context_give_none(layout: Layout, cache: ContextCache) -> None:
    served = publish(layout, "a.test", 1, CA.issue("a.test"))
    (layout.version("a.test", 1) / "privkey.pem").write_bytes(b"")

    assert cache.get(served, is_mail=False) is None
    assert cache.unloadable == [Unloadable("a.test", 1, "pem lib", None)]


@pytest.mark.parametrize(
    ("versions", "live", "stand_in"),
    [
        pytest.param("gb", 2, 1, id="the one before"),
        pytest.param("gbb", 3, 1, id="the last one before that can be loaded"),
        pytest.param("ggb", 3, 2, id="not an older one"),
        pytest.param("gbg", 2, 1, id="not the one after"),
        pytest.param("bg", 1, 2, id="the one after where there is none before"),
        pytest.param("bb", 2, None, id="none"),
    ],
)
def test_another_version_stands_in_for_one_that_can_not_be_loaded(
    layout: Layout,
    cache: ContextCache,
    caplog: pytest.LogCaptureFixture,
    versions: str,
    live: int,
    stand_in: int | None,
) -> None:
    served = {}
    for number, state in enumerate(versions, 1):
        served[number] = publish(layout, "main", number, CA.issue("edge.test"))
        if state == "b":
            (layout.version("main", number) / "privkey.pem").write_bytes(b"")
    layout.live("main").unlink()
    layout.live("main").symlink_to(layout.live_target("main", live))

    context = cache.get(served[live], is_mail=True)

    assert cache.unloadable == [Unloadable("main", live, "pem lib", stand_in)]
    assert [each.message for each in caplog.records] == [cache.unloadable[0].message]
    assert (None if context is None else leaf_of(context)) == (
        None if stand_in is None else served[stand_in].fingerprint
    )


def test_what_can_not_be_loaded_is_tried_again_soon_and_logged_once(
    layout: Layout, cache: ContextCache, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    publish(layout, "a.test", 1, CA.issue("a.test"))
    served = publish(layout, "a.test", 2, CA.issue("a.test"))
    key = layout.version("a.test", 2) / "privkey.pem"
    good = key.read_bytes()
    key.write_bytes(b"")
    stand_in = cache.get(served, is_mail=False)
    clock.now += RETRY_SECONDS
    assert cache.get(served, is_mail=False) is stand_in
    assert len(caplog.records) == 1
    key.write_bytes(good)
    assert cache.get(served, is_mail=False) is stand_in, "not at every handshake"
    clock.now += RETRY_SECONDS
    context = cache.get(served, is_mail=False)
    assert context is not None
    assert leaf_of(context) == served.fingerprint
    assert cache.unloadable == []


def leaf_of(context: ssl.SSLContext) -> str:
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    peer = client.wrap_bio(to_client, to_server)
    server = context.wrap_bio(to_server, to_client, server_side=True)
    for side in (peer, server, peer):
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
    return hashlib.sha256(peer.getpeercert(binary_form=True) or b"").hexdigest()


def test_a_second_rsa_pair_is_loaded(layout: Layout, cache: ContextCache) -> None:
    pair = publish(layout, "a.test", 1, CA.issue("a.test"), rsa=CA.issue("a.test", key_type="rsa2048"))
    context = cache.get(pair, is_mail=False)
    assert context is not None

    broken = publish(layout, "b.test", 1, CA.issue("b.test"), rsa=CA.issue("b.test", key_type="rsa2048"))
    (layout.version("b.test", 1) / "privkey-rsa.pem").write_bytes(b"")

    assert cache.get(broken, is_mail=False) is None, "half a pair is not served"


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreWriter]:
    with writing(tmp_path_factory.mktemp("store"), main_host=NAME) as writer:
        yield writer


@pytest.mark.parametrize("case", ODD_PAIRS)
def test_what_intake_lets_in_is_served_and_what_it_refuses_changes_nothing(case: str, writer: StoreWriter) -> None:
    before = writer.live_version("main")
    files = [DroppedFile(name, content) for name, content in make(ODD_PAIRS[case]).items()]

    result = writer.install_files("main", files, source="table")

    live = writer.live_version("main")
    assert live is not None
    if result.outcome is Outcome.REFUSED:
        assert live == before
        assert writer.records("main")[-1].message == result.message
        return
    assert live.number == result.version
    engines = (ContextCache(writer.layout, Settings()), served_contexts(writer.layout, Settings()))
    assert type(engines[0]) is not type(engines[1]), "what is tried serves, and what may take over does too"
    for contexts, version in itertools.product(engines, (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)):
        context = contexts.get(live.served, is_mail=False)
        assert context is not None
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
        client.minimum_version = client.maximum_version = version
        shake_hands(context, client)


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("RSA-PSS for SHA-1", "no suitable signature algorithm"),
        ("an intermediate of P-192", "ca key too small"),
        ("an intermediate of DSA 1024", "ca key too small"),
    ],
)
def test_what_only_the_serving_library_refuses_has_its_reason_on_record(
    case: str, reason: str, writer: StoreWriter
) -> None:
    files = [DroppedFile(name, content) for name, content in make(ODD_PAIRS[case]).items()]
    assert reason in writer.preview("main", files).verdict.message  # type: ignore[union-attr]
    assert writer.install_files("main", files, source="table").reason == "unservable"
    assert reason in writer.records("main")[-1].message
