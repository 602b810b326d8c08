"""The coconowork client: waits on the server from the tray of an office PC."""

__version__ = "0.1.0"
