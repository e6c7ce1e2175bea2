"""Counts events, at most once each: a crash may lose some, and none is counted twice unless a person requeues it."""
