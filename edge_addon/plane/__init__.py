"""What all connections of one worker share.

Knows no protocol and no socket.

    access_log         one line per HTTP request or mail session
    addresses          the clients of one worker by their address
    challenge_file     reads the answer to an ACME challenge that is under way
    connection_counts  the number of connections over all workers, in shared memory
    data_plane         the shared state, and the questions that connections ask of it
    giving_way         which idle connections are closed near a limit
    metrics            counters of one worker
    open_files         how many open files a worker may use for connections
    upstream_attempts  how the last connection to each mail server went
"""
