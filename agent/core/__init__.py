"""The client's decisions: no socket, clock, thread, file or random source in here."""
