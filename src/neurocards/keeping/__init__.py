"""Keeping a shop alive, and no longer than it should be: backups, the way back from one, and what is forgotten."""
