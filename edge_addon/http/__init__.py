"""HTTP/1 as values: what a message may look like, how it is framed, what the edge answers itself.

Pure: no sockets, no clock, no sites. The strictness of the relay lives here, for HTTP/2 and inspected sites as well.
Three rules hold everywhere. A message that two servers could read in two ways is refused, request or response. A
message that is passed on is written anew: framing, connection headers and origin headers are always ours. After
anything unclean, the connection is closed on that side and never used again.

    framing           reads the head of a request or response and finds out how long its body is
    head_reader       takes the heads of requests out of a client's bytes
    partial_head      refuses junk before its head is complete
    fields            what happens to a header field, by its name; the fields that the edge sets on answers
    connection_login  which fields say that a login belongs to the connection
    name_memo         a bounded memo of what is known of header names
    target            request targets and hosts
    chunks            the chunked coding: strict reader, plain writer
    websocket_key     keys of a WebSocket's opening handshake
    request_body      a request's body, from the client's framing to ours
    reframing         heads as they are written towards the other side
    forwarded         X-Forwarded-For and the like: where a request came from
    responses         the edge's own answers: short pages, redirects, challenges
    http01            answers to ACME validations
    body_rate         the least pace of a request's body
    limits            bounds that are not settings
    refusal           the causes for which a message is refused
"""
