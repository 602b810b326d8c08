"""The client on Windows: tray, toast, session watcher, control pipe, autostart."""
