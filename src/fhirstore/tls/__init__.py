"""TLS: the context of the server's own connections, and whom a client certificate names."""
