"""The decisions, without the world: every function here takes values and returns values.

    names             what a domain name is, what a certificate's name covers, public suffixes
    certificate/      certificates and keys: recognised, paired, ordered, checked
    settings/         the models of edge.yaml and site.yaml, and how text becomes one
    snapshot          the immutable index that workers serve from
    selection         which certificate a client gets, and why
    name_ownership    which site owns which name
    site_registry     all sites as the writer knows them
    drop_decision     what to do about a drop
    layout            the names of all files in a store
    unloadable        a live certificate that can't be loaded, and what is served in its place
    version           one version of a site, as meta.json describes it
    record            what one attempt did
    duty              which of several nodes may order and warn
    front             a node that changes nothing, and what it refuses
    renewal/          when to renew, how to order, what failures mean
    cluster/          what nodes that share a store say to each other, and who wins
    notify/           which warnings are due, and their words
    console/          people, roles, sign-in, lists
    challenge         the ways to prove a name, and what a challenge's token and path look like
    trusted_proxies   which addresses may say on whose behalf they connect
    starttls          the client's side of STARTTLS in each mail protocol
    json_facts        dataclasses as JSON and back
    progress          progress of work that takes a while, for the person who waits
    metrics           what is measured, and how the counters of several processes add up
    service_state     which settings the service runs with, and what became of a reload
    service_problems  what is wrong with the service beside its certificates
    readiness         whether the service as a whole can be relied on
    text              text from strangers made fit for people and logs
    did_you_mean      which site somebody meant

No module here imports os, socket, ssl, asyncio, time, random or logging: `now` is always an argument.
"""
