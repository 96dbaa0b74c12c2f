"""Connections to the web servers behind the edge.

Knows neither clients nor which site a request is for.

    bounds        how many connections an address, a pool and the worker may have; lines of those that wait
    connection    one connection: sends requests as given, reads responses strictly
    health_check  asks a server regularly whether it works
    interfaces    what sessions and exchanges ask of each other: protocols only
    login         connections that carry a login, and belong to one client connection
    opening       a request that waits for a connection: its place in a line, its time limit
    paths         opens what settings name, unless links lead into the store
    pool          the servers of one site: which one gets the next request, idle connections
    resend        whether a request may be sent again after its connection was lost
"""
