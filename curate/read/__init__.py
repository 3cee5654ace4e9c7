"""Readers: files of any shape become parts of typed rows, and unreadable lines with their place."""
