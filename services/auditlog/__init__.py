"""Keeps every event for a year, in the order it was read: the topic `audit-log`."""
