"""Sites with `inspect: true`: their decrypted HTTP goes through mitmproxy's own layers, seen by addons and mitmweb.

    session     a client connection handed to mitmproxy: a reader and a writer over the channel (`plain`)
    handler     mitmproxy's connection handler, with back-pressure that holds both ways
    servers     mitmproxy's HTTP/1 and HTTP/2 towards clients, as strict and as bounded as the fast path's
    upstream_http1   mitmproxy's HTTP/1 towards upstreams, likewise
    stream      one request: the gate's rules before any addon hears of it, our own pages instead of mitmproxy's
    rewriting   pure: a request head into mitmproxy's request, a response freed of what is not for the client
    upstream_tls   verified TLS towards https upstreams, instead of mitmproxy's
    scripts     the addons that edge.yaml names
    inspector   what one worker needs for all of it

Challenges, redirects, refusals and the choice of the upstream are decided by the same code as on the fast path, before
the first addon hears of a request. Nothing here runs for a site that is not inspected.
"""
