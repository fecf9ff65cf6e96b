"""`python -m rtx.cli`, where the script `rtx` is not on the path."""

from rtx.cli import main

main()
