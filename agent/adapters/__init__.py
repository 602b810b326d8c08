"""One module for each port and platform; each is imported only where it is used."""
