"""Listening sockets, and the client connections accepted on them.

Only `sessions` knows the protocols above TLS, which are those of `relay` and `mail`.

    accept_balance  lets the worker with the fewest connections accept first
    connection      one client connection: PROXY header, ClientHello, handshake, session
    health          the session of a health listener, for load balancers
    listening       the supervisor's sockets, across reloads
    port_owner      which process listens on a port that is in use
    sessions        which session a connection gets
    sockets         matches sockets to listeners, binds those that are missing
    tls_choice      what a ClientHello gets: a certificate's context, that of a validation, or a refusal
"""
