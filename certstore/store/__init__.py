"""The directory store: versions of certificates, the `live` links, and the one writer that changes them.

Knows nothing of CAs, networks, the console or who asks.

    writer            `StoreWriter`, the one writer: the methods that control, console and watcher call
    reader            `Store`, the reading side: needs no lock
    opening           opens the writer's state and repairs what a kill left
    writer_state      what the writer knows, and `commit`, the one way to change it
    activation        from checked bytes to what is served: version, `live`, commit
    adoption          from what another node has to what is served here
    replicated        the writer as a cluster sees it: told of changes, given those of other nodes
    front_mark        whether this store is a front's, which adopts no drops
    preview           uploaded files, read and checked but not installed
    versions          the archive of a site and its `live` link
    revocations       which versions were revoked, and which others could be served
    journal           what the writer publishes and workers read
    records           a site's last attempts and its unsolved problems
    drops/            reading and deciding what was dropped
    site_settings     applies a changed site.yaml, finds new sites
    counted_settings  what of a site's files counts, by who may write them
    site_changes      adds, changes and removes sites on request
    site_yaml         reads and writes the file itself
    status            what status, console and API show of sites and versions
    turns             a few uploads at a time, one of each caller
    unlocking         opens PKCS #12 files and encrypted keys in a bounded process
    unlock_child      the program that does so
    live_check        whether live versions that were not tried yet can be served
    trial             whether the TLS library that serves could serve a certificate, asked in a bounded process
    trial_child       the program that tries
    self_signed       the certificate of the first start
    errors            why the store can't do what it was asked to
"""
