"""Pure values and decisions. Standard library only: no clock, no network, no database."""
