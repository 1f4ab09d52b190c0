"""The command line: the only place that knows Typer and Rich.

One file per command. It declares the options, fills the options object of the command's room, calls
that room's function and hands the result to a renderer of `show/` or `draw/`. Answers go to stdout
or to `--output`, all else to stderr. What is slow to import is imported inside the functions, so
that `tsf --help` loads no torch.
"""
