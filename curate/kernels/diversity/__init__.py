"""Selection of diverse rows."""
