"""The checks of the command `doctor`, one module for each part of the system."""
