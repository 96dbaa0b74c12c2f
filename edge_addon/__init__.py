"""The edge: a mitmproxy addon that selects certificates by server name and relays web and mail traffic.

The only package that imports mitmproxy. It reads the store through `certstore` and never writes it, except where one
process does everything (`addon.standalone`). A module imports only from packages below its own:

    cli             `certedge`: the commands of certstore, and `run` and `demo`
    entry           what mitmdump and mitmweb load
    demo/           `certedge demo`: a whole edge with a CA and servers to try it on
    processes/      the supervisor, the control process, the workers: starting, replacing, draining and stopping them
    addon/          the addon itself: listeners inside mitmproxy, or hooks for a mode of your own
    inspection/     sites with `inspect: true`: mitmproxy's addons see and may change their requests
    listeners/      sockets, and one client connection on them: PROXY header, TLS, the session above
    relay/          HTTP/1.1, HTTP/2 and tunnels between clients and web servers
    mail/           IMAP, POP3, SMTP, LMTP and ManageSieve: STARTTLS rules and relaying
    plane/          what all connections of a worker share: snapshot, contexts, pools, counters, access log
    upstream/       connections to web servers: pool, health checks, sending again
    http/           pure: heads, bodies, fields and pages of HTTP
    transport/      TCP, TLS, the PROXY protocol and timers; the channel between a connection and its session
    settings_file   reads edge.yaml

Start with `plane.data_plane`, then follow one connection through `listeners.connection`.
"""
