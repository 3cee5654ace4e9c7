"""`python -m curate.cli` is the command `curate`."""

from curate.cli.entry import main

main()
