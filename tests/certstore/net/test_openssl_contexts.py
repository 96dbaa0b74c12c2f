"""One context per chain: who shares it, how long it is kept, and what happens when there is none to be had."""

import ssl

import pytest

from certstore.net.memory_handshake import shake_hands, trusting_client
from certstore.net.openssl_contexts import MAXIMUM_AGE_SECONDS, ChainContexts
from certstore.net.openssl_credentials import Credentials, decode
from certstore.net.openssl_stage import Scratch
from tests.certificates import CertificateAuthority
from tests.descriptors import no_free_descriptor

CAS = [CertificateAuthority(f"CA {number}") for number in range(3)]


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def credentials(ca: CertificateAuthority = CAS[0], name: str = "a.test") -> Credentials:
    issued = ca.issue(name)
    return decode([(issued.fullchain_pem, issued.privkey_pem)])


def contexts(clock: Clock | None = None, *, capacity: int = 10) -> ChainContexts:
    return ChainContexts("1.2", ["h2"], Scratch(), capacity=capacity, monotonic=clock or Clock())


def test_sites_of_one_authority_share_a_context_and_one_copy_of_the_intermediates() -> None:
    kept, first, second, other = contexts(), credentials(), credentials(name="b.test"), credentials(CAS[1])
    assert kept.servable(first).context is kept.servable(second).context
    assert kept.servable(other).context is not kept.servable(first).context
    assert first.chain_key is second.chain_key


def test_the_least_recently_used_contexts_are_dropped_and_made_again() -> None:
    kept, sites = contexts(capacity=2), [credentials(ca) for ca in CAS]
    first = [kept.servable(site).context for site in sites[:2]]
    assert kept.servable(sites[0]).context is first[0]
    kept.servable(sites[2])
    assert kept.servable(sites[0]).context is first[0]
    again = kept.servable(sites[1])
    assert again.context is not first[1]
    shake_hands(again, trusting_client(ssl.TLSVersion.TLSv1_3))


def test_contexts_are_kept_up_to_so_many_bytes_of_chains() -> None:
    sites = [credentials(ca) for ca in CAS]
    sizes = [len(site.chain_key[0][1]) for site in sites]
    kept = ChainContexts("1.2", ["h2"], Scratch(), capacity=10, chain_bytes=sum(sizes[:2]))
    first, second = (kept.servable(site).context for site in sites[:2])
    assert kept.servable(sites[0]).context is first
    assert kept.servable(sites[1]).context is second
    kept.servable(sites[2])
    assert kept.servable(sites[1]).context is second
    assert kept.servable(sites[0]).context is not first
    tiny = ChainContexts("1.2", ["h2"], Scratch(), capacity=10, chain_bytes=1)
    assert tiny.servable(sites[0]).context is tiny.servable(sites[0]).context, "the newest one stays"


def test_renewed_contexts_weigh_no_more_than_those_that_they_replace() -> None:
    clock, sites = Clock(), [credentials(ca) for ca in CAS[:2]]
    size = sum(len(site.chain_key[0][1]) for site in sites)
    kept = ChainContexts("1.2", ["h2"], Scratch(), chain_bytes=size, monotonic=clock)
    for _ in range(3):
        clock.now += MAXIMUM_AGE_SECONDS
        first = [kept.servable(site).context for site in sites]
        assert [kept.servable(site).context for site in sites] == first


def test_a_day_old_context_is_made_anew_for_fresh_ticket_keys() -> None:
    clock = Clock()
    kept, site = contexts(clock), credentials()
    first = kept.servable(site).context
    clock.now += MAXIMUM_AGE_SECONDS - 1
    assert kept.servable(site).context is first
    clock.now += 1
    assert kept.servable(site).context is not first


def test_without_a_free_descriptor_an_old_context_serves_on_and_a_new_one_is_an_error() -> None:
    clock = Clock()
    kept, site, other = contexts(clock), credentials(), credentials(CAS[1])
    first = kept.servable(site).context
    clock.now += MAXIMUM_AGE_SECONDS
    with no_free_descriptor():
        assert kept.servable(site).context is first
        with pytest.raises(OSError, match="Too many open files"):
            kept.servable(other)
        with pytest.raises(OSError, match="Too many open files"):
            kept.alone(other)
    assert kept.servable(site).context is not first
    shake_hands(kept.servable(other), trusting_client(ssl.TLSVersion.TLSv1_2))


def test_a_context_has_no_key_so_nothing_is_served_without_credentials() -> None:
    kept, site = contexts(), credentials()
    kept.servable(site)
    bare = kept.servable(Credentials((), site.chain_key, site.session_context, 0))
    with pytest.raises(ssl.SSLError):
        shake_hands(bare, trusting_client(ssl.TLSVersion.TLSv1_3))


def test_a_context_alone_shares_nothing_and_resumes_nothing() -> None:
    kept = ChainContexts("1.2", ["h2"], Scratch(), resumes=False)
    site, client = credentials(), trusting_client(ssl.TLSVersion.TLSv1_2)
    served = kept.alone(site)
    assert kept.alone(site).context is not served.context
    session = shake_hands(served, client).session
    assert not shake_hands(served, client, session=session).session_reused
