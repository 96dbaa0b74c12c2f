"""What is measured and observed of the whole service, for `/metrics` and `/readyz`.

Must not know HTTP. What is measured and when the service is ready is decided in `model`.

cluster_standing   how this node stands in its cluster, as control writes it down
metrics            the page `/metrics`
readiness          the facts behind `/readyz`
service_problems   the facts behind the service's problems: disk, settings, upstreams
service_report     the supervisor's report: which settings run
standing_problems  all of it that may be told to the operators
worker_reports     adds up the numbers of all workers, past ones included
"""
