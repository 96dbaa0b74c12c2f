"""Several nodes that share sites and certificates over an engine, which carries sealed records between their stores.

Imported only where edge.yaml has a `cluster:` section: a single node loads none of it.

clustering     a node's part in its cluster, as one thing to start and stop
opening        from edge.yaml and the key file to that one thing
replica        the three steps of a node: compare all, take what comes, publish what changed
publisher      what changed here, by conditional transactions
follower       what others published, adopted or decided about
first_sync     everything in the engine compared with what this node has seen
agreed         what the nodes have agreed on, as far as this one has seen
problems       a node's problems in words
lately         what happened within the last day
named_files    files that sites' settings name and this node lacks
local_records  what this store holds, as records
nodes          the nodes of the cluster as this one sees them
known_members  the newest record of each member that this node has seen: what is older brings nobody back
orders         orders of this node: under locks, with what all nodes share
order_locks    the right to order for a site, or to change an account, under a lease
order_queue    ordered versions on their way to the thread that publishes
shared_orders  the journal of orders under way, for whoever goes on with one
shared_books   what renewal remembers of sites and CAs, on all nodes
shared_told    what recipients of warnings have been told, for whoever warns next
shared_accounts  one account at each CA for all nodes
tokens         challenge tokens on every node
foreign_tokens  those that other ACME clients put on one node
acknowledgement  waits until the other nodes have an order's tokens
presence       what this node says about itself
duty           which node renews and warns: the holder of a lease
membership     who belongs to a cluster: its first node, invitations, leaving
invitation     what brings a new node into a cluster
front_access   what a front may do in the engine, asked and set up
joining        what a store has that the cluster it joins does not
keys           the cluster's keys and the node's own, and the file that they lie in
key_copies     a new cluster key on its way to one member
key_updates    this node's side of a change of the cluster's key
rotation       changes the cluster's key, and seals all records anew
sealing        values for the engine, sealed and signed, and back
access         how this node reaches the engine, from edge.yaml
session        one way to the engine over all its members
engine         what a cluster needs of the store that its nodes share, as a Protocol
etcd           one member of etcd as such an engine
etcd_gateway   requests to its JSON gateway: TLS, sign-in, bounds
etcd_feed      changes as they happen
etcd_answers   its answers and errors in the engine's words
engine_files   certificates and settings for the members of an engine
"""
