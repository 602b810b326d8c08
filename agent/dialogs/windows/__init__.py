"""What dialogs do on Windows only."""
