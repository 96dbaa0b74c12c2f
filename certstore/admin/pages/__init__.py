"""The console's pages: the actions as HTML that works without scripts, and better with them. Knows no JSON of the API.

entrance           sign-in, set-up links, sign-out
overview           all sites: counts, timeline, searchable list
site               one site: its page, settings, rollback, handshakes, removal
certificate        a new certificate for a site: upload, order or main; the pages of jobs
service            the service, users and tokens, the user's own account, audit log
nodes              the nodes of the cluster
rendering          templates, flash messages, the actor of a page or form
words              how pages word facts
qr                 the geometry of a QR code
charts             the geometry of the validity bar and the timeline
"""
