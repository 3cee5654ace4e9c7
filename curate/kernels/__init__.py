"""Compiled passes over columns of text, and the plain-Python definitions that they must equal."""
