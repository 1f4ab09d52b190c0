"""`python -m timesformer_cli` is `tsf`."""

from timesformer_cli.cli.app import main

main()
