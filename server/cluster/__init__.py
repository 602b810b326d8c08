"""What several server processes share: the database, the wake-up bus, the heartbeat."""
