"""The command line: its group, its flags and what commands share; `commands/` holds them."""
