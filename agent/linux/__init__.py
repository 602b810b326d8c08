"""The client on Linux, for development and the demonstration."""
