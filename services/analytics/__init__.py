"""Counts events, at most once each: a crash may lose some, and none is ever counted twice."""
