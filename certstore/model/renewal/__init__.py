"""Decides about orders and renewals: when, where, for which names, and what an outcome means. Knows no network or disk.

decision             when to order a site's certificate, and why
state                what renewal remembers about a site, and how each outcome changes it
order_decision       for which names and at which CA to order, and what the outcome leaves behind
partial_order        which names an order leaves out rather than let a certificate expire
revocation           the reasons for a revocation, and what is served in its place
backoff              when to try again after a failure
rate_limits          the CA's limits, and a ledger that counts towards them
failure              causes of failures, and what you can do about them
acme_problems        a CA's problem documents as failures
preflight_facts      what a preflight gathers, and the form of its findings
preflight_findings   what the gathered facts mean, for people
standing_record      the standing TXT record of dns-persist-01: its value, and what one allows
ways                 how each name was proven, and what failed at the CA
choice               which way each name is proven, and why
probe_targets        which addresses may be asked on behalf of a name
caa                  whether CAA records allow the order
ca                   a CA by its directory, and its key in the store
"""
