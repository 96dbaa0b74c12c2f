"""Envoy: every certificate in one TLS context, chosen by SNI. It reads certificates named in its settings once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.bench.peers.base import Peer, Setting
from tests.bench.programs import find

_HCM = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
_TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"


class Envoy(Peer):
    name = "Envoy"
    program = "envoy"
    refresh_way = ""

    def command(self, setting: Setting, port: int) -> Sequence[str]:
        sites = setting.sites
        paths = [sites.main_path, *(sites.path(host) for host in sites.hosts)]
        tls = {
            "@type": _TLS,
            "common_tls_context": {
                "alpn_protocols": ["h2", "http/1.1"],
                "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
                "tls_certificates": [_certificate(path) for path in paths],
            },
        }
        chain = {"filters": [_relay()], "transport_socket": {"name": "tls", "typed_config": tls}}
        listener = {
            "name": "edge",
            "address": _address(port),
            "listener_filters": [
                {
                    "name": "tls_inspector",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"
                    },
                }
            ],
            "filter_chains": [chain],
        }
        settings = {
            "static_resources": {"listeners": [listener], "clusters": [_cluster(setting.upstream_port)]},
            "overload_manager": {
                "resource_monitors": [
                    {
                        "name": "envoy.resource_monitors.global_downstream_max_connections",
                        "typed_config": {
                            "@type": "type.googleapis.com/envoy.extensions.resource_monitors"
                            ".downstream_connections.v3.DownstreamConnectionsConfig",
                            "max_active_downstream_connections": 15000,
                        },
                    }
                ]
            },
        }
        (setting.folder / "envoy.json").write_text(json.dumps(settings))
        # fmt: off
        return [
            find(self.program), "-c", str(setting.folder / "envoy.json"), "--concurrency", str(setting.workers),
            "--disable-hot-restart", "--log-level", "error",
        ]
        # fmt: on


def _certificate(path: Path) -> dict[str, Any]:
    return {"certificate_chain": {"filename": str(path)}, "private_key": {"filename": str(path)}}


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _relay() -> dict[str, Any]:
    route = {"match": {"prefix": "/"}, "route": {"cluster": "web", "timeout": "0s"}}
    return {
        "name": "relay",
        "typed_config": {
            "@type": _HCM,
            "stat_prefix": "edge",
            "use_remote_address": True,
            "common_http_protocol_options": {"idle_timeout": "3600s"},
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
            "http_filters": [{"name": "router", "typed_config": {"@type": _ROUTER}}],
        },
    }


def _cluster(port: int) -> dict[str, Any]:
    endpoint = {"endpoint": {"address": _address(port)}}
    return {
        "name": "web",
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": {"cluster_name": "web", "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
