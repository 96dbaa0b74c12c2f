"""What a node that joins has of its own: sites and certificates that would become the cluster's.

An administrator may have mistaken the machine, or joined one that served customers before; so they are shown first.
"""

from __future__ import annotations

from certstore.cluster.engine import Engine
from certstore.cluster.keys import KeyRing
from certstore.cluster.sealing import KeyRingSealer
from certstore.model.cluster.paths import ClusterPaths
from certstore.model.cluster.records import HeadRecord, SiteRecord
from certstore.model.cluster.wire import Refused
from certstore.model.snapshot import MAIN
from certstore.store.reader import Store

_ASKED_AT_ONCE = 50


def other_sites(store: Store, engine: Engine, ring: KeyRing) -> list[str]:
    """The sites that the cluster does not have, has removed, or has with another certificate.

    A self-signed certificate, as every new store has one, is nothing that anybody would miss. A record of the cluster
    that does not count shows nothing, so its site is listed. Raises EngineFailed.
    """
    paths, sealer = ClusterPaths(ring.cluster), KeyRingSealer(ring)
    sites, found = list(store.sites()), []
    for at in range(0, len(sites), _ASKED_AT_ONCE):
        some = sites[at : at + _ASKED_AT_ONCE]
        asked = [path for site in some for path in (paths.site(site), paths.head(site))]
        there = {item.key: item.value for item in engine.get(asked).items}
        for site in some:
            try:
                is_known = _is_known(site, there, paths, sealer)
                digest = _digest(site, there, paths, sealer)
            except Refused:
                is_known, digest = False, None
            live = store.live_version(site)
            has_own = live is not None and not live.is_self_signed and live.digest != digest
            if has_own or (site != MAIN and not is_known):
                found.append(site)
    return found


def _is_known(site: str, there: dict[str, bytes], paths: ClusterPaths, sealer: KeyRingSealer) -> bool:
    if (value := there.get(paths.site(site))) is None:
        return False
    return SiteRecord.decode(site, sealer.open(paths.site(site), value).plaintext).removal is None


def _digest(site: str, there: dict[str, bytes], paths: ClusterPaths, sealer: KeyRingSealer) -> str | None:
    if (value := there.get(paths.head(site))) is None:
        return None
    return HeadRecord.decode(site, sealer.open(paths.head(site), value).plaintext).digest
