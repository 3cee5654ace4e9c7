"""Batch jobs: made, submitted, polled and collected."""
