"""The contract on a real etcd of three members with TLS."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from certstore.cluster.engine import Engine
from certstore.cluster.etcd import EtcdMember
from certstore.cluster.etcd_gateway import engine_context
from tests.certstore.cluster.engine_contract import EngineContract
from tests.deadlines import wait_for
from tests.peers.etcd import Etcd


class TestEtcdMember(EngineContract):
    @pytest.fixture
    def engine(self, etcd: Etcd) -> Iterator[Engine]:
        engine = EtcdMember(etcd.endpoints[0], engine_context(etcd.ca_file, etcd.client_cert))
        yield engine
        engine.close()

    @pytest.fixture
    def compact(self, etcd: Etcd) -> Callable[[], None]:
        return etcd.compact

    @pytest.fixture
    def after_ttl(self) -> Callable[[Callable[[], bool]], None]:
        def wait(condition: Callable[[], bool]) -> None:
            wait_for(condition, "the lease ended", pause=0.2)

        return wait
