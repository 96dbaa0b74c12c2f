"""`certedge`: commands over the store and the control process.

    main            the typer app and its groups; `edge_addon.cli` adds `run` and `demo`
    context         which edge.yaml, which store
    sites, certificates, explain, status, verify, check, init     one command group each
    export          file sets for daemons elsewhere; probe: handshakes with listeners
    output          tables, plain text, JSON; failure: error output and exit codes

Modules are imported when their command runs: a command's start is short however much the others need.
"""
