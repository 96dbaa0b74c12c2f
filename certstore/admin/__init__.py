"""The console: pages and an API over the verbs that the command line uses, served by the control process over HTTPS.

    server, tls        the listener, on the store's live main certificate
    guard              what holds for every request: host, size, headers
    access             who may come in: users, sessions, set-up links, tokens; `auth/` has their parts
    desk               every action: authorized, performed, put into the audit log; `deeds_*` are the actions
    site_index, jobs   what pages show, kept up to date beside the requests
    api/, pages/       two faces of the desk: JSON with problem documents, and HTML

Decisions live in `certstore.model` (authorization, sign_in, totp, people, standing, listing). Pages and API know no
files of the store.
"""
