"""What several server processes share: the database and the wake-up bus."""
