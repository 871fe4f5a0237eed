"""The protocol between client, broker and worker: messages, their bytes, shared numbers, exit codes."""
