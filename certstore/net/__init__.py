"""Network helpers that know no protocol of ours: TLS to other servers, bounded HTTP, and our own listeners' addresses.

tls_client     how we verify the servers to which we are the client
tls_server     the contexts on which our listeners serve, and how they load a certificate
tls_engine     which library does the TLS of the listeners
openssl        the bindings of cryptography's OpenSSL that we need, and its errors
openssl_credentials  a site's certificates and keys, decoded
openssl_contexts     one context per chain of intermediates
openssl_stage        one connection over memory
openssl_probe        whether all of that does here what it should
memory_handshake     handshakes in memory, for trials and probes
bounded_http   HTTP with bounded time and size, for `requests` and `http.client`
lanes          questions to strangers' servers on threads that nobody has to wait for
own_address    how this machine reaches the edge's own listeners, and which addresses are the edge's own
"""
