"""Server and client together on one machine, to try out."""
