"""The web relay: HTTP between a client's channel and the web servers behind the edge.

    channel ── http1, http2 ── admission ── exchange ── upstream (pool, connection)
                    │                           │
                    └ responses (own pages)     └ tunnel (after an upgrade)

Knows nothing of sockets, TLS, mail or mitmproxy. How messages are read, framed and written is in `http`, the
connections to web servers are in `upstream`.

    http1            the requests and responses of one HTTP/1 client connection, in order, under back-pressure
    http1_responses  its sending side
    http2            the same for HTTP/2 (a package)
    admission        what becomes of a request: challenge, refusal, 421, redirect, inspection, or its site's web servers
    exchange         one request on its way: takes a connection, sends again after a stale one, reports the end
    tunnel           bytes both ways once both sides have agreed on an upgrade to WebSocket
    read_pause       the reasons for which a client is not read from
    report           the counts, times and access-log line of one request
"""
