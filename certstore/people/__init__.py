"""Who may sign in, and what they did: everything about people and programs that is kept on disk.

Must not know requests, cookies or pages: those are `admin`'s. What a role or token may do is `model.console`'s.

access       opens all of the below as one
users        the people who may sign in
passwords    hashes and checks passwords, a few at a time
invitations  one-time links with which a person chooses a password
sessions     who is signed in
tokens       API tokens for programs
throttle     counts sign-ins by name and address
audit        one entry for each action: who, what, from where, with which outcome
audit_selection  which entries a reader asks for
audit_files  the files of the audit log: append-only, kept for a time
audit_quota  how many entries one actor fills in an hour
"""
