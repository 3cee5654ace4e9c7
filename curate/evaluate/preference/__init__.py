"""Audit of preference data: what its labels reward beside quality, and which rows are wrong.

The audit is a run without a model: rows are read as for any recipe, then its findings are written
beside them. `pairs_of_row` says what a pair is, `sketches` what is kept of each (some 400 bytes and
8 for every three words in a row; hashes of words in mapped files), `findings` which pairs are
named, `linear` the cross-validated models, `measures` what they say of all pairs and of groups, and
`audit` puts them together.
"""
