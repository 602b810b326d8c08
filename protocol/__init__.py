"""`coconowork.v1`: what client and server share. This package imports neither of them."""
