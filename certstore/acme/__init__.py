"""Talks to CAs: orders by RFC 8555, renewal windows by RFC 9773, and the checks before them.

    network          a conversation with one CA: signed requests, nonces, errors as `Failure`
    account          the one account per CA: registered once, kept, its contact up to date
    issue            one order, from the request to the chain; resumes an interrupted one
    order_context    what an order needs besides the CA, and how it waits for the CA
    order_journal    what an interrupted order is resumed from
    validation       how an order's names are proven to the CA
    challenge_kind   what a challenge type is: publish, withdraw, check, probe
    http01           the challenge type http-01: tokens where the edge's workers find them
    token_sharing    who besides this edge has to know a token
    keys             private keys and certificate requests
    chains           which of the CA's chains to serve
    renewal_info     the window that the CA suggests for one certificate
    preflight        gathers the facts about names and the CA before an order, and returns findings
    dns_facts        what the DNS says about a name
    name_probe       asks one address of a name for our token, as the CA will

A shell around the `acme` library; decisions are in `certstore.model`. Nothing here knows sites, schedules or mail.
"""
