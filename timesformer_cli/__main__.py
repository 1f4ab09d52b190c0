"""Where `tsf` starts; `python -m timesformer_cli` is the same command."""

from timesformer_cli.cli.interrupt import leave_on_interrupt


def main() -> None:
    """The command, with Ctrl-C explained from the first moment: to import it takes a while."""
    leave_on_interrupt()
    from timesformer_cli.cli.app import main as run

    run()


if __name__ == "__main__":
    main()
