"""The store: replies and vectors on disk, their commit, budget and maintenance."""
