"""Compares what the listeners serve with the store. Shared by `certedge verify` and the console; prints nothing.

plan         which checks to make, what each should find, and what is wrong with an answer
probe        one handshake with one listener, and the certificates that it served
other_nodes  which listeners of the cluster's other nodes can be checked from here
"""
