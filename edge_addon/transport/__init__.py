"""Bytes between the edge and its peers: TCP, TLS and the PROXY protocol.

Knows no HTTP, no mail and no sites.

    alpn            which application protocols a client offers, and which a listener takes
    channel         the protocols between a connection and its session, its worker and the inspection
    client_hello    the server name of an ordinary ClientHello, without asking OpenSSL
    disconnects     finds out that a client has gone while it is not read from
    openssl_sites   certificates and keys of the served sites on cryptography's OpenSSL, kept up to so many bytes
    proxy_protocol  builds and parses PROXY headers, versions 1 and 2
    served_contexts what connections start from, on the TLS engine in force
    server_tls      TLS towards a server, as a transport over a transport
    tcp             keep-alive, closing with a deadline, what a reset left unread
    timers          thousands of deadlines for one callback a second
    tls_contexts    TLS contexts of the served certificates, built when needed
    tls_stage       TLS over memory: bytes in, bytes out
    validation      the certificates that prove names to a CA over TLS
"""
