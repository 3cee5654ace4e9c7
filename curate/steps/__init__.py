"""The operators, one per file; the tree is the registry."""
