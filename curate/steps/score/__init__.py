"""Steps that score rows by asking a model."""
