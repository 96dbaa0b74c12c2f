"""The edge: a mitmproxy addon that chooses certificates by server name and relays web and mail. See `plane` first.

    cli          `certedge`: the commands of certstore, and `run` and `demo`.
    supervisor   binds the sockets, starts control and the workers, keeps them alive; `fleet` decides, `children` forks.
    worker       one process of the data plane: a lean mitmproxy with `addon` in it; `modes` is the server mode `edge`.
    entry        what mitmdump and mitmweb load; there `alone` runs intake, or `hooks` serve a mode of the user's own.
    connection   one client connection: first bytes, PROXY header, server name, choice, `tls`; above it a session:
    relay/       HTTP/1.1: strict framing, pooled upstreams, tunnels.
    mail/        IMAP, POP3, SMTP, ManageSieve: STARTTLS rules and relaying.
    held         whether clients that are not read from are still there; `keepalive` asks after those that say nothing.
    client_tls   the same `tls` towards servers, as a transport for whoever speaks to one.
    http01       answers to ACME challenges.
    demo/        the show.

The only package that imports mitmproxy. It reads the store through `certstore` and never writes it, except where
intake runs in the same process.
"""
