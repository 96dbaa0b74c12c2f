"""The CA's side: orders by RFC 8555, windows by RFC 9773, and what stands in the way of both.

    network        one conversation with a CA: signed requests, nonces, errors as `Failure`
    account        one account per CA: made once, kept, its contact held up to date
    issue          one order, from the CSR to the chain; picked up again after a kill
    order_journal  what an interrupted order is picked up from
    challenges     tokens where the edge's workers find them, and the look at them through our own listener
    keys           private keys and CSRs
    renewal_info   the CA's suggested window
    preflight      gathers the facts that `model.preflight_findings` judges, with dns_facts and name_probe

Shell over the `acme` library: decisions are in `certstore.model`. Nothing here knows sites, schedules or mail.
"""
