"""A seeded fuzzer of every reader and of recipes; `python -m tests.fuzz` runs it for longer."""
