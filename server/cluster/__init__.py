"""The database and the wake-up bus, which several server processes share."""
