"""Steps that make rows from rows."""
