"""Every command on a store: a typed request goes in, a typed result comes out, or RequestFailed is raised.

Knows no sockets and prints nothing; command line, console and API share requests and results.

table        all commands, where each runs, the one dispatcher, and what each error becomes
requests     one request per command
results      the results, and their JSON
json_values  reads requests and results from JSON
on_store     commands performed on the store's writer
on_network   commands that order, check and warn, performed on the upkeep
on_revocation  the command that revokes a certificate, performed on the upkeep
on_people    commands on users and tokens
on_cluster   commands about the cluster that the node belongs to
on_keys      commands about that cluster's key
"""
