"""The soak test: mixed load on a running edge for minutes, while certificates, upstreams and workers change.

`python -m tests.soak --minutes 20` prints counts and exits with 1 if anything was lost without an excuse.
"""
