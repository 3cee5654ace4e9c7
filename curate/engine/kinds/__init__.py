"""How each kind of step is run, one per file."""
