"""The other two sides of the protocol: the session of a worker and the session of a client."""
