"""`python -m curate` is the command `curate`."""

from curate.cli.main import main

main()
