"""Steps that drop rows which another kept row makes superfluous."""
