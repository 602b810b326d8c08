"""The coconowork server: the gateway that clients wait on and the management console."""
