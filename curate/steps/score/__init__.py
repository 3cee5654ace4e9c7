"""Steps that score rows by asking a model: for marks, labels, likelihoods or rewards."""
