"""The guided tour: walks through the manual by itself and says what it saw."""
