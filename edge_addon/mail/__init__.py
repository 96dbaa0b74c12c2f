"""Mail through the edge: IMAP, POP3, SMTP, LMTP, submission and ManageSieve, with TLS always on the main certificate.

    protocols     each protocol as one value: its rules before TLS, how to open the upstream, its dialogue, its goodbyes
    relay         one `MailSession` per client connection: moves bytes and carries out what the dialogues decide
    upstream      the connection to the mail server: PROXY header, TLS, back-pressure
    dialogue      the interface of a dialogue: bytes in, steps out
    starttls      the dialogue before TLS, where the edge answers alone
    opening       the conversation that opens an upstream, with STARTTLS if required
    login         the dialogue between TLS and the login, one command at a time; afterwards bytes pass unchanged
    imap          the login of IMAP
    pop3          the login of POP3
    sieve         the login of ManageSieve
    smtp          the dialogue of SMTP and LMTP, from greeting to QUIT
    message_text  finds the end of a mail's text after DATA
    lines         splits the byte stream into lines and literals
    commands      parses the first line of a command

Only `relay` and `upstream` do I/O. All other modules take values and return values, so they can be tested byte by byte.
Knows nothing of HTTP.
"""
