"""ZeroMQ sockets, and how one thread waits for them: the parts that broker, client and worker share."""
