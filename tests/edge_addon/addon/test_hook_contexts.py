"""Which OpenSSL context serves a certificate, and which one when its files are missing."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from certstore.model.layout import Layout
from certstore.model.settings.models import Settings
from certstore.model.snapshot import ServedCertificate
from certstore.model.unloadable import Unloadable
from edge_addon.addon.hook_contexts import HookContexts
from edge_addon.transport.tls_contexts import OutOfFiles
from tests.certificates import CertificateAuthority
from tests.descriptors import no_free_descriptor

CA = CertificateAuthority()
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path)
    for site in ("a.test", "b.test"):
        for version in (1, 2):
            CA.issue(site).write_to(layout.version(site, version))
        layout.live(site).parent.mkdir(parents=True, exist_ok=True)
        layout.live(site).symlink_to(layout.version(site, 2))
    return layout


def served(site: str, version: int) -> ServedCertificate:
    return ServedCertificate(site, version, "", (site,), NOW, NOW)


def test_a_version_keeps_its_context_until_another_replaces_it(layout: Layout) -> None:
    contexts = HookContexts(layout, Settings())
    first = contexts.get(served("a.test", 1), is_mail=False)
    assert first is not None
    assert contexts.get(served("a.test", 1), is_mail=False) is first
    assert contexts.get(served("a.test", 2), is_mail=False) is not first


def test_without_its_files_the_live_version_serves_and_then_the_last_good_one(layout: Layout) -> None:
    contexts = HookContexts(layout, Settings())
    shutil.rmtree(layout.version("a.test", 1))
    live = contexts.get(served("a.test", 1), is_mail=False)
    assert live is not None
    shutil.rmtree(layout.version("a.test", 2))
    assert contexts.get(served("a.test", 3), is_mail=False) is live
    assert contexts.get(served("c.test", 1), is_mail=False) is None


def test_without_a_free_descriptor_no_other_certificate_is_served(layout: Layout) -> None:
    contexts = HookContexts(layout, Settings())
    before = contexts.get(served("a.test", 1), is_mail=False)
    with no_free_descriptor():
        assert contexts.get(served("a.test", 2), is_mail=False) is before
        with pytest.raises(OutOfFiles):
            contexts.get(served("b.test", 1), is_mail=False)
    assert contexts.get(served("a.test", 2), is_mail=False) not in (None, before)
    assert contexts.unloadable == []


def test_descriptors_that_run_out_while_openssl_reads_are_no_fault_of_the_certificate(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    contexts = HookContexts(layout, Settings())
    read, still_read = Path.read_bytes, [(layout.version("b.test", 1) / "privkey.pem").read_bytes()]
    monkeypatch.setattr(Path, "read_bytes", lambda path: still_read.pop() if still_read else read(path))
    with no_free_descriptor(), pytest.raises(OutOfFiles):
        contexts.get(served("b.test", 1), is_mail=False)


def test_only_the_contexts_used_last_are_kept(layout: Layout) -> None:
    contexts = HookContexts(layout, Settings(), capacity=1)
    first = contexts.get(served("a.test", 1), is_mail=False)
    contexts.get(served("b.test", 1), is_mail=False)
    assert contexts.get(served("a.test", 1), is_mail=False) is not first


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (CA.issue("a.test").encrypted_privkey_pem(b"word"), "the key has a password"),
        (CA.issue("a.test").privkey_pem, "key values mismatch"),
        (None, "no such file or directory"),
    ],
    ids=["locked", "another", "missing"],
)
def test_the_version_before_stands_in_for_one_that_can_not_be_loaded(
    layout: Layout, key: bytes | None, reason: str
) -> None:
    path = layout.version("a.test", 2) / "privkey.pem"
    path.unlink()
    if key is not None:
        path.write_bytes(key)
    contexts = HookContexts(layout, Settings())
    assert contexts.get(served("a.test", 2), is_mail=False) is not None
    assert contexts.unloadable == [Unloadable("a.test", 2, reason, 1)]
