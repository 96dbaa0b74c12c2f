"""Several nodes that share sites and certificates over an engine, which carries sealed records between their stores.

Imported only where edge.yaml has a `cluster:` section: a single node loads none of it.

engine         what a cluster needs of the store that its nodes share, as a Protocol
keys           the cluster's keys and the node's own, and the file that they lie in
sealing        values for the engine, sealed and signed, and back
access         how this node reaches the engine, from edge.yaml to a connection
membership     who belongs to a cluster: the first node, those who join, those who leave
joining        what a node that joins must not bring along unasked
invitation     what brings a new node into a cluster
etcd           one member of etcd as an engine
etcd_gateway   requests to its JSON gateway: TLS, sign-in, deadlines, errors
etcd_answers   its answers, and the stream of a feed to whole revisions
etcd_feed      follows changes at one member
session        one way to the engine over all its members, with a lease
engine_files   certificates and settings for an etcd of several members
"""
