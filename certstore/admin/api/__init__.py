"""`/api/v1`: the actions as JSON. Knows no files of the store and no HTML.

sites              sites, their settings (with ETags), versions, attempts, handshakes
certificates       previews, uploads, rollback, orders, preflight checks, and their jobs
people             users and API tokens
myself             the asker's rights, sessions, password and one-time codes
cluster            how the nodes stand
service            settings, CA account, test mail, audit log, event stream
events             server-sent events of a job and of all sites
models             the shapes of requests and answers, for the OpenAPI document
examples           adds the examples of examples.yaml, one of every shape
"""
