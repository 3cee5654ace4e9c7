"""Ranked answers in parallel lists, as listwise trainers take them."""
