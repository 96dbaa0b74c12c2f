"""Sites with `inspect: true`: mitmproxy's addons and mitmweb see their requests, and may change them.

The relay serves these sites like all others; the hooks are fired from its own exchange. So whatever the relay refuses
no addon sees, and what addons make is read by the relay's own readers before it goes on. This package must not know
listeners, TLS or how connections are accepted. Nothing in it runs for a site that is not inspected.

    inspector    the inspection of one worker, and each client connection as addons know it
    exchange     one request: the relay's exchange, with hooks on the way there and back
    websocket    a WebSocket whose messages addons see
    hooks        how hooks are fired, and the tasks that wait for them
    messages     pure: HTTP messages as mitmproxy's objects, and back
    pieces       a body that waits for a hook
    scripts      the addons that edge.yaml names

Why not mitmproxy's own layers: they bring a second HTTP stack between the client and the upstream, private and less
strict. Holding it to the relay's rules took 460 lines more than this package, three times the CPU time for each request
(some 770 µs against 260, beside 40 without inspection), a connection of its own to the upstream for each client, and
left HTTP/2 clients of several sites, WebSockets over HTTP/2, trailers and `unix:` upstreams aside. What addons lose is
the events of server connections and TLS, which the relay's pool does not fire. Only mitmproxy's WebSocket layer is
used, because nothing in the relay reads frames.
"""
