"""Planted bugs: each is a mistake that an engine like this one can have, and that must be found."""
