"""The demonstration: a whole order from a sample photo, with simulators in place of the outside services."""
