"""The providers, one per file; the file name is the prefix of `PREFIX:NAME`."""
