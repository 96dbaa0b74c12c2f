"""What lives longer than a request, in memory only. Knows no HTTP.

site_index         all sites as the overview shows them, kept up to date
jobs               orders and preflight checks, with their steps
uploads            uploaded files between preview and installation
broadcast          wakes the event streams when something happened
streams            bounds the open event streams
reachability       whether this server reaches the CA
"""
