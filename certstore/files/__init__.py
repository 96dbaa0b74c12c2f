"""What every store of facts on disk needs, and the clock.

Knows no site and no certificate.

    atomic        durable writes: files, folders and links that are replaced by one rename
    line_log      a file of JSON lines that is appended to
    keyed_state   a dictionary on top of it that outlives a restart
    lock          one writing process per store
    permissions   the command that makes a file readable for the service
    writers       who else may change a file or replace it
    clock         the system's wall clock
"""
