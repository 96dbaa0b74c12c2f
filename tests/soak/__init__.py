"""A soak: mixed load on a running edge for minutes, with certificates, upstreams and workers changing underneath.

`python -m tests.soak --minutes 20` prints counts and ends with 1 if anything was lost that should not have been.
"""
