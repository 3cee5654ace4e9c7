"""Requests: what steps yield, asked once, paid once, and kept in the store."""
