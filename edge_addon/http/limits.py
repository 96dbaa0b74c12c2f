"""Bounds of the relay that are not settings: nobody tunes them, but without them a client could occupy a worker.

Sizes in bytes, times in seconds. Knows nothing of sockets. What you can tune is `limits:` in edge.yaml.
"""

from __future__ import annotations

from typing import Final

MAX_FIELDS: Final = 200
"""Header lines in one head; the size of the head is bounded by `limits.header_bytes`."""
MAX_METHOD: Final = 32
MAX_LEADING_EMPTY_LINES: Final = 2
"""RFC 9112 §2.2 requires that at least one is skipped: old clients end a body with a CRLF that is not part of it."""

MAX_CHUNK_LINE: Final = 512
"""The line of a chunk's size with its extensions."""
MAX_CHUNK_EXTENSIONS: Final = 8192
"""All extensions of one body. Nobody uses them, and they cost work without moving data."""
MAX_TRAILER: Final = 8192
MAX_LENGTH_DIGITS: Final = 18
"""A length below 10**18 fits the integers of every web server."""

MAX_INFORMATIONAL: Final = 16
"""1xx answers before the final one."""

PIPELINED_BYTES: Final = 65536
"""What a client may send ahead before the edge stops reading from it."""
STALL_SECONDS: Final = 300.0
"""How long a client may neither send the body that it announced nor read its response."""
BODY_STEP: Final = 30_000
"""Bytes of a request's body that must arrive within STALL_SECONDS: a hundred a second, slower than any line."""
UPGRADE_SECONDS: Final = 60.0
"""How long an upstream may take to agree to a WebSocket, or to refuse it."""
EARLY_BYTES: Final = 65536
"""What an HTTP/2 client may send for its WebSockets before their upstreams have agreed; none needs to send any."""
FRESH_SECONDS: Final = 5.0
"""How long a drain waits for the first request of a connection that has only just opened."""
HALF_CLOSED_SECONDS: Final = 60.0
"""How long an answer may take once the client has closed its side: nearly always the client has gone altogether."""

CONNECT_SECONDS: Final = 10.0
FAILED_SECONDS: Final = 5.0
"""How long an upstream that refused a connection is skipped, if there are others."""
HEALTH_SECONDS: Final = 5.0
"""The time between two health checks of an upstream, and the limit of one."""
POOL_IDLE_SECONDS: Final = 25.0
"""Below the idle limits of the usual servers (Jetty 30, nginx 75), so that we are the side that closes."""
POOL_FRESH_SECONDS: Final = 4.0
"""A request that may not be sent twice takes a pooled connection only if it was used this recently (Node: 5).

To never reuse one would more than double the CPU time of a POST, times forty over TLS, and would still lose requests in
the backlog of a server that is being stopped. `upstream.resend` saves nearly all that meet the end of a connection.
"""
POOL_REST_SECONDS: Final = 0.1
"""How long a connection waits after an answer without a body: broken servers send one in the next segment."""
POOL_MAX_IDLE: Final = 256
"""Idle connections kept per upstream and worker."""
POOL_CLEANUP_SECONDS: Final = 5.0
