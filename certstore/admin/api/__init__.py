"""`/api/v1`: the desk's actions as JSON: problem documents (RFC 9457), pages of lists, ETags of settings."""
