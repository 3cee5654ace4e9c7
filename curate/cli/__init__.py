"""The command line: its group, its flags and what commands share; `commands/` holds them."""

# What `export --as` calls a copy of the whole run, with its store.
WHOLE_RUN = "run"
