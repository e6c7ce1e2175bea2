"""Databases: the adapters of the store ports. All SQL is in this room, and none of it anywhere else."""
