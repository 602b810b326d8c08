"""What the command `doctor` checks, one module for each kind of thing."""
