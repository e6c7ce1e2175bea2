"""Tells customers how their order stands: each event once, whatever crashes."""
