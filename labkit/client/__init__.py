"""The client: submits tasks to a broker and resolves their futures."""
