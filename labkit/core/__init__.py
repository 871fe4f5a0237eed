"""The lab's minds: pure state machines and tables, without socket, clock, thread, randomness or file."""
