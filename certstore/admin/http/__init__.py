"""What holds for every request and every answer of the console. Knows no page and no action.

connections        bounds connections and the time of a request
tls                the TLS context: always the live main certificate
guard              host, size, client address, security headers
identity           the actor of a request: a session or a token; CSRF
admission          refuses a request before its body is read
problems           errors as problem documents
probes             /metrics and /readyz
"""
