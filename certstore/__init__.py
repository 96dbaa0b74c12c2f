"""Certificates of many sites: imported from files or a CA, checked, versioned on disk, renewed before they expire.

    model/        decisions, values in and values out; no I/O
    files/        durable files, locks, the clock; knows no site
    net/          TLS and HTTP clients with bounds, own addresses
    store/        the directory store: versions, `live` links, the one writer
    acme/         orders certificates by RFC 8555
    people/       users, sessions, tokens and the audit log
    notify/       sends warnings
    watch/        notices drops
    renewal/      renews in time, retries, keeps within a CA's limits
    verify/       checks by real handshakes what clients get
    monitoring/   metrics and readiness of all workers
    cluster/      shares sites and certificates with other nodes
    control/      the control process: socket, commands, upkeep
    admin/        the console
    cli/          the command line

A package imports only those above it in this list (`pyproject.toml` has the exact layers). Nothing here knows mitmproxy
or imports `edge_addon`: any program that needs its certificates looked after can use it.
"""
