"""The coconowork server: the gateway, where clients wait, and the management console."""
