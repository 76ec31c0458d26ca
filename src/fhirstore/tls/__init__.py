"""TLS: the context of the server's own connections, and the subjects of client certificates."""
