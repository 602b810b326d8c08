"""`coconowork.v1`: what client and server share. Imports neither of them."""
