"""HTTP/2 towards the client (RFC 9113); upstreams get HTTP/1.1.

    channel ── session ── framer ── writer (h2)
                  │
                  └ stream (one for each request) ── exchange

Knows no more of sites, admission and upstreams than HTTP/1 does, and shares its `exchange`, `tunnel` and `report`.

    session     the connection: its streams, its budget, how much waits for it, its end
    stream      one request and its response under flow control
    interfaces  what a stream asks of its connection
    stage       how far a response has come
    upgrade     a WebSocket that its upstream has not agreed to yet
    upload      the body of a request: what its upstream has not taken yet, and how far the client may go on
    windows     what a client may send of its bodies, and who lends what is beyond the usual
    send_queue  the bytes of a stream that wait for the client's windows
    framer      the reading side: frames, checked before the h2 library sees them
    writer      the sending side: header blocks, DATA, resets, GOAWAY
    frames      types, flags, limits and faults of frames
    heads       heads and trailers between HTTP/2 and HTTP/1.1
    hpack       a bounded HPACK decoder, an encoder without state
    budget      how many costly frames a client may send
"""
