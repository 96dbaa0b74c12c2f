"""Fuzzers: every parser that reads a stranger's bytes, against another reader of the same format where there is one.

    target         a fuzzer: what must hold of any input, and what inputs look like
    inputs         makes inputs from seeds and words; the same seed makes the same ones
    targets        all fuzzers by name
    http_targets   heads against h11 and httptools, chunks against h11, hosts, challenges
    http2_targets  frames against h2, header blocks against hpack, WebSocket frames
    mail_targets   commands and replies of all mail protocols, before and after TLS
    tls_targets    ClientHello against OpenSSL, PROXY headers
    store_targets  certificate files and site.yaml
    guided         one fuzzer guided by coverage, if atheris is installed

`python -m tests.fuzz` runs them; `cases` holds inputs that found something.
"""
