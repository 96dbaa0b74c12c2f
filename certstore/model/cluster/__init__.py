"""What several nodes say to each other through a shared engine, and how they agree; values in and values out.

paths     the keys of the engine: how each is built, and what a key that was read stands for
wire      the form of a sealed value, and what its seal and its signature cover
records   what the values hold: sites, certificates, members and how they are
merge     which of two records wins
ordering  by which settings the cluster orders, so that no node does by others
standing  how this node stands, as control writes it down
health    what a node's standing is, as the others see it
"""
