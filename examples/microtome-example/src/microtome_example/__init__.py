"""A study and an architecture for microtome."""
