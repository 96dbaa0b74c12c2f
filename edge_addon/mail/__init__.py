"""Mail through the edge: IMAP, POP3, SMTP, submission and ManageSieve, with TLS always on the main certificate.

    relay           one `MailSession` per client connection: moves bytes, obeys the dialogues
    upstream        the connection to the mail server: PROXY header, TLS, back-pressure
    dialogue        what a dialogue is: bytes in, steps out; goodbyes
    starttls        the dialogue before TLS, held by the edge alone; rules as tables
    opening         the first words with an upstream, STARTTLS among them
    login           between TLS and the login: imap, pop3, sieve; afterwards bytes pass untouched
    smtp            from greeting to QUIT; message_text finds where a mail ends
    lines, commands lines, literals and verbs out of any split of the byte stream
    proxy_protocol  the PROXY header, both directions

Only `relay` and `upstream` do I/O; all else is values in, values out, and so can be shown byte by byte.
"""
