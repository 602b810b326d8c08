"""How the Windows program is put together, packed, signed and set up."""
