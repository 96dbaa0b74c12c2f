"""Orders and renews certificates when their time comes. The decisions are in `certstore.model.renewal`.

    loop              the maintenance loop: checks sites that are due, runs orders, answers what others ask
    attempt_lanes     the threads on which attempts run: checks apart from orders, slow orders apart from others
    attempt           one attempt for one site, from the preflight to the new version
    attempt_ways      the ways by which one attempt proves its names, and what the CA made of them
    order_sharing     which of several nodes orders for a site
    context           what all attempts share: CAs, accounts, journal, challenge types, preflight
    renewal_windows   asks CAs for their renewal windows, over one conversation per CA
    server_problems   problems of this server that orders find out: its clock, its contact
    memory            the states and ledgers that outlive a restart
    sites             the store's sites as renewal and warnings see them

Knows nothing of the control socket, the console or mail.
"""
