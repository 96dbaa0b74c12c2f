"""Talks to CAs: orders by RFC 8555, renewal windows by RFC 9773, and the checks before them.

    network          a conversation with one CA: signed requests, nonces, errors as `Failure`
    account          the one account per CA: registered once, kept, its contact up to date
    key_change       gives an account a new key at the CA
    issue            one order, from the request to the chain; resumes an interrupted one
    order_context    what an order needs besides the CA, and how it waits for the CA
    order_journal    what an interrupted order is resumed from
    validation       how an order's names are proven to the CA
    challenge_kind   what a challenge type is: publish, withdraw, check, probe; and all of them by name
    challenge_kinds  all types of this edge, made from its settings
    http01           the challenge type http-01: tokens where the edge's workers find them
    tls_alpn01       the challenge type tls-alpn-01: the same for names, from which workers make certificates
    dns01            the challenge type dns-01: TXT records where the zone's servers show them
    dns_persist01    the challenge type dns-persist-01: a standing record that a person wrote
    dns              writes TXT records into zones: RFC 2136, hosted DNS, a program of the administrator's
    token_sharing    who besides this edge has to know a token
    keys             private keys and certificate requests
    chains           which of the CA's chains to serve
    revoke           revokes a certificate
    renewal_info     the window that the CA suggests for one certificate
    preflight        gathers the facts about names and the CA before an order, and returns findings
    dns_facts        what the DNS says about a name
    name_probe       asks one address of a name for our token, as the CA will

A shell around the `acme` library; decisions are in `certstore.model`. Nothing here knows sites, schedules or mail.
"""
