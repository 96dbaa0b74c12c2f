"""Mail through the edge: IMAP, POP3, SMTP, submission and ManageSieve, with TLS always on the main certificate.

    relay           one `MailSession` per client connection: moves bytes, obeys the dialogue
    upstream        the connection to the mail server: PROXY header, TLS, back-pressure
    dialogue        what a protocol's dialogue is: bytes in, steps out; goodbyes
    starttls        the dialogue before TLS, and how an upstream is opened; rules as tables
    imap pop3 sieve from TLS to the login; after it bytes pass untouched
    smtp            from greeting to QUIT; message_text finds where a message ends
    lines           lines and literals out of any split of the byte stream
    proxy_protocol  the PROXY header, both directions

Only `relay` and `upstream` do I/O; all else is values in, values out, and so is testable byte by byte.
"""
