"""The web relay: HTTP between a client's channel and the web servers behind the edge.

    channel ── http1 ── gate ── exchange ── upstream_connection ── upstream (pool)
               │  ▲       │                        │
               │  └ responses (own answers)        └ tunnel (after 101)
               └ prelude, framing, chunks

* `http1` reads requests and writes responses of one client connection, in order, under back-pressure.
* `gate` says what becomes of a request: challenge, refusal, 421, redirect, or which site's servers get it.
* `exchange` is one request on its way: takes a connection, sends it again after a stale one, tells when it is over.
* `upstream` keeps the connections to a site's servers, `upstream_connection` reads the responses on one of them,
  `health_check` asks a server whether it is well.
* `tunnel` moves bytes once an upgrade to WebSocket has been agreed by both sides.
* `hold` and `report` are parts of a session: why the client is not read from, what its request came to.

Pure, and where the strictness lives: `framing` (heads and body lengths), `chunks` (the chunked coding), `fields`
(header names and their treatment), `target` (request targets and hosts), `prelude` (heads not yet complete),
`request_body` and `reframing` (from one side's framing to the other's), `forwarded` (where a request came from),
`responses` (pages of our own), `limits`, `refusal`.

Three rules hold everywhere. What two servers could read in two ways is refused, in requests and in responses. What is
passed on is written anew: framing, connection headers and origin headers are always ours. After anything unclean a
connection is closed, on that side, and never used again.
"""
