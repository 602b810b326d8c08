"""The guided tour: walk through the manual, and print what was seen."""
