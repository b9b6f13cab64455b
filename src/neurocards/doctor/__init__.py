"""Looks at everything a shop stands on and says of each part what is and what to do; nothing is changed by looking."""
