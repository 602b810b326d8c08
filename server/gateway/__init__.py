"""The WebSocket endpoint that clients wait on."""
