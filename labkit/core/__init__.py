"""The lab's decisions: pure state machines and tables, without socket, clock, thread, randomness or file."""
