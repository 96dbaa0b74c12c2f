"""The control process, the one writer of its store, and how others have commands performed on that store.

Knows neither the command line nor the console: the process that starts control hands it the console.

process       the process: control socket, drop watcher, upkeep, users and tokens, console
dispatch      becomes the writer, for the life of control or for one command
client        has a command performed by control, or performs it under the lock if no control runs
protocol      the lines of the control socket, one JSON object each, bounded
origin        which Unix user gives a command
audit_trail   what the audit log gets of commands, and of what the service does by itself
local_socket  the control socket as a file: bind, connect, peer credentials
upkeep        renewal and warnings as one thing to start and stop
cluster       the node's part in its cluster, if it has one
exposed_keys  replaces certificates whose key a stolen node knew
fault         unforeseen exceptions in words that may be logged
console       what control gives the console, and how it starts one
commands/     every command: its request, its result, what performs it
"""
