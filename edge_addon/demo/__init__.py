"""`certedge demo`: a whole edge on free high ports, with a small CA, stand-in servers and real handshakes to show it.

    authority    certificates of the demo's own CA
    arrangement  the folder: CA, edge.yaml, store with its sites and drops, and the listening sockets
    stand_ins    web, IMAP and SMTP servers behind the edge
    process      `certedge run` as a child on sockets that are bound already
    client       what a browser or mail program does, as far as a certificate and an answer are seen
    checks       the lines of the show: each can fail, and says what was seen instead
    show         prints them and serves on

Uses the edge from outside, as an administrator would: files in, handshakes out.
"""
