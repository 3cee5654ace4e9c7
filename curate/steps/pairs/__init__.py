"""Steps that compare answers to one prompt: which of two is better, and in which order many are."""
