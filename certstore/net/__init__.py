"""Network helpers that know no protocol of ours: TLS to other servers, bounded HTTP, and our own listeners' addresses.

tls_client     how we verify the servers to which we are the client
tls_server     the contexts on which our listeners serve, and how they load a certificate
bounded_http   HTTP for `requests` with bounded time and size
own_address    how this machine reaches the edge's own listeners
"""
