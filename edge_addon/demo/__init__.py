"""`certedge demo`: a complete edge on free high ports, checked from outside with real handshakes.

    arrangement  the demo's folder: CA, edge.yaml, and a store with its sites and drops; the listening sockets
    authority    the demo's CA and the certificates that it issues
    stand_ins    the web, IMAP and SMTP servers behind the edge
    process      `certedge run` as a child process on sockets that are already bound
    client       what a browser or mail program does, as far as certificates and answers are concerned
    checks       the checks of the demo: each returns what it saw, or says what is wrong
    cluster      `certedge demo --nodes N`: nodes that share sites, with and without their engine
    engine       the etcd of that demo
    show         runs the demo: prints the result of each check, then serves until Ctrl-C

Uses the edge from outside, as an admin does: files in, handshakes out. Knows nothing of how the edge works inside.
"""
