"""The decisions, without the world: every function here takes values and returns values.

    names             what a domain name is, what a certificate's name covers, public suffixes
    pem, der          what kind of bytes these are; contents finds certificates and keys in them
    x509_facts        one certificate's facts; chain puts several in order, checks holds the rules they have to pass
    bundle            from dropped files to a checked `CertificateBundle`, or why not (findings)
    declarations      which site owns which name
    snapshot          the immutable index that is served from; selection chooses from it, with the reason
    expiry            how a certificate stands today
    layout            the names of everything in a store
    record            what one attempt did
    starttls          the client's side of STARTTLS in each mail protocol
    settings          the models of edge.yaml and site.yaml; settings_source turns text into them by way of yaml_source

No module here imports os, socket, ssl, asyncio, time, random or logging: `now` is always an argument.
"""
