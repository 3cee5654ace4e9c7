"""What is computed of rows as such: hashes, the trees they form, their order."""
