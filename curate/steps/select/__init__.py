"""Steps that choose among all rows."""
