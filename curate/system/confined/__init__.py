"""Python programs of unknown origin, run where they can do no harm (Linux)."""
