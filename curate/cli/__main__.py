"""`python -m curate.cli` is the command `curate`."""

from curate.cli.main import main

main()
