"""Encoders: texts become vectors, in this process."""
