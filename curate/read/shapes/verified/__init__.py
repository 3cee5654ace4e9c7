"""Prompts with a gold answer and its checker, as trainers of RLVR read them."""
