"""Sites with `inspect: true`: mitmproxy's addons and mitmweb see their requests and may change them.

The relay serves these sites like all others; their exchanges fire mitmproxy's hooks. So addons never see what the relay
refuses, and whatever they change is checked by the relay's own readers before it is sent. This package must not know
listeners, TLS or how connections are accepted. None of its code runs for other sites.

    inspector  the inspection of one worker, and each of its client connections as addons know it
    exchange   one request: the relay's exchange with hooks on the way to the upstream and back
    websocket  a WebSocket whose messages addons see
    hooks      how hooks are fired, and the tasks that wait for them
    body_budget  how much one client connection may hold in whole bodies
    messages   pure: HTTP messages as mitmproxy's objects and back
    pieces     a body that waits for a hook
    scripts    the addons that edge.yaml names

Why not mitmproxy's own layers: they are a second HTTP stack, private and less strict than the relay. A version that
held them to the relay's rules needed 400 lines more and three times the CPU time per request (770 µs against 260, and
40 without inspection). Each client had its own connections to the upstream, and HTTP/2 connections that carry several
sites, WebSockets over HTTP/2, trailers and `unix:` upstreams did not work. The price: addons get no events of server
connections and of TLS, because the relay's pool fires none. Only mitmproxy's WebSocket layer is used, as nothing else
here reads WebSocket frames.
"""
