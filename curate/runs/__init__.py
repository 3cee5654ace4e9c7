"""Runs on disk: their folder, rows, report, status, and lookups in them."""
