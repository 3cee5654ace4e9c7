"""`python -m curate` is the command `curate`."""

from curate.cli.entry import main

main()
