"""Steps that keep or drop one row by a rule."""
