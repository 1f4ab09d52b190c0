"""`tsf benchmark`: what attention schemes cost, on paper and on this machine."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import typer

from timesformer_cli.cli import options
from timesformer_cli.cli.completion import complete_model, complete_scheme
from timesformer_cli.errors import ExitCode, UsageError
from timesformer_cli.schemes import PAPER, SCHEMES

UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
BINARY_UNITS = {"ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
MODEL, PROTOCOL, OUTPUT, INSTEAD = "Model", "How it is measured", "Output", "Instead of measuring"
# Options that --model takes; all others belong to schemes.
WITH_MODEL = set("model batch_size device dtype threads runs format output quiet debug".split())

Format = Annotated[
    Literal["table", "json", "csv", "markdown"] | None,
    typer.Option(
        help="How to write the answer.",
        show_default="by the suffix of --output, else table",
        rich_help_panel=OUTPUT,
    ),
]


def benchmark(
    context: typer.Context,
    attention: Annotated[
        list[str],
        typer.Option(
            metavar="NAME[,NAME]|SENTENCES|FILE",
            autocompletion=complete_scheme,
            help=f"Any of {', '.join(SCHEMES)}; paper: the first {len(PAPER)}; all: every one. "
            "Or a scheme of your own as sentences, or in a .toml. May be given several times.",
            rich_help_panel=MODEL,
        ),
    ] = ["paper"],  # noqa: B006 - typer reads it and changes nothing
    frames: Annotated[
        str, typer.Option(metavar="N[,N]", help="Frames in a clip.", rich_help_panel=MODEL)
    ] = "8",
    image_size: Annotated[
        str, typer.Option(metavar="PX[,PX]", help="Height and width.", rich_help_panel=MODEL)
    ] = "224",
    size: Annotated[
        Literal["tiny", "small", "base", "large", "huge", "giant"],
        typer.Option(help="Width, depth and heads, as in ViT.", rich_help_panel=MODEL),
    ] = "base",
    batch_size: options.BatchSize = 1,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    threads: options.Threads = None,
    kernel: Annotated[
        Literal["auto", "math", "fused"],
        typer.Option(
            help="math stores the attention scores, fused never does, auto is torch's choice.",
            rich_help_panel=PROTOCOL,
        ),
    ] = "auto",
    measure: Annotated[
        bool,
        typer.Option(
            "--measure/--no-measure",
            help="Run the models, or only count their costs.",
            rich_help_panel=PROTOCOL,
        ),
    ] = True,
    runs: Annotated[
        int | None,
        typer.Option(
            min=1, help="Timed runs.", show_default="about 5 s of them", rich_help_panel=PROTOCOL
        ),
    ] = None,
    warmup: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Runs before the timed ones; one more measures memory.",
            show_default="up to 3",
            rich_help_panel=PROTOCOL,
        ),
    ] = None,
    memory_limit: Annotated[
        str | None,
        typer.Option(
            metavar="BYTES",
            help="Such as 8GiB or 500MB; rows that need more are OOM.",
            show_default="what is free",
            rich_help_panel=PROTOCOL,
        ),
    ] = None,
    train: Annotated[
        bool,
        typer.Option(
            "--train", help="Time a forward and a backward pass.", rich_help_panel=PROTOCOL
        ),
    ] = False,
    checkpoint_gradients: Annotated[
        bool,
        typer.Option(
            "--checkpoint-gradients",
            help="With --train: use less memory and more time.",
            rich_help_panel=PROTOCOL,
        ),
    ] = False,
    compile: Annotated[
        bool,
        typer.Option(
            "--compile", help="Compile the models with torch.compile.", rich_help_panel=PROTOCOL
        ),
    ] = False,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            metavar="NAME[,NAME]",
            autocompletion=complete_model,
            help="Time these models or exported files instead of schemes.",
            rich_help_panel=MODEL,
        ),
    ] = None,
    explain: Annotated[
        str | None,
        typer.Option(
            metavar="SCHEME",
            autocompletion=complete_scheme,
            help="Draw what one patch sees in this scheme, or in all.",
            rich_help_panel=INSTEAD,
        ),
    ] = None,
    paper: Annotated[
        bool,
        typer.Option(
            "--paper", help="Show the published numbers beside ours.", rich_help_panel=INSTEAD
        ),
    ] = False,
    format: Format = None,
    output: options.Output = None,
    plot: Annotated[
        Path | None,
        typer.Option(help="Also draw it: a .png, .svg or .pdf.", rich_help_panel=OUTPUT),
    ] = None,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Say what attention schemes cost: work, memory, time.

    Example: tsf benchmark --frames 8,16
    """
    from timesformer_cli.cli.draw.style import require_drawable
    from timesformer_cli.cli.formats import choose_format, require_writable, writing
    from timesformer_cli.cli.progress import steps
    from timesformer_cli.cli.show.benchmark import RENDERERS
    from timesformer_cli.cli.stderr import claiming, errors_explained, quietly
    from timesformer_cli.inference.process_tuning import use_threads

    with errors_explained(debug), quietly(quiet), claiming(output, plot):
        options.require_devices(device)
        use_threads(threads)
        require_writable(output, beside=[plot])
        written = choose_format(format, output, RENDERERS)
        if explain is not None or paper:
            _instead(explain, written, output)
            return
        if model is not None:
            said = options.said(context)
            if beside := sorted(said.keys() - WITH_MODEL):
                name = ("no_" * (said[beside[0]] is False) + beside[0]).replace("_", "-")
                raise UsageError(f"--model times what is there; leave out --{name}")
            _models(_words("--model", model), context, written, output)
            return
        from timesformer_cli.benchmark.options import SchemeBenchmarkOptions
        from timesformer_cli.benchmark.run_schemes import benchmark_schemes

        chosen = options.fill(
            SchemeBenchmarkOptions,
            context,
            attention=tuple(_schemes(attention)),
            frames=tuple(_numbers("--frames", frames)),
            image_sizes=tuple(_numbers("--image-size", image_size)),
            memory_limit=None if memory_limit is None else parse_bytes(memory_limit),
        )
        if plot is not None:
            require_drawable(plot)
        # Opened first, so that a file that cannot be written is known before hours of work.
        with writing(output) as stream:
            with steps() as watch:
                results = benchmark_schemes(chosen, watch)
            RENDERERS[written](results, stream)
        if plot is not None:
            from timesformer_cli.cli.draw.benchmark import draw_benchmark

            draw_benchmark(results, plot)
        failed = [details for details in results.details if details.failed]
    raise typer.Exit(ExitCode.SOME_FAILED if failed else ExitCode.OK)


def parse_bytes(text: str, option: str = "--memory-limit") -> int:
    """`8GiB`, `500MB`, `1.5g` or plain bytes as a number of bytes; raises UsageError."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?i?)b?\s*", text.lower())
    unit = {**UNITS, **BINARY_UNITS}.get(match[2]) if match else None
    if not match or unit is None or not (size := int(float(match[1]) * unit)):
        raise UsageError(f"{option} is a size such as 8GiB or 500MB; got '{text}'")
    return size


def _models(names: list[str], context: typer.Context, written: str, output: Path | None) -> None:
    """Time models by name instead of schemes."""
    from timesformer_cli.benchmark.options import ModelBenchmarkOptions
    from timesformer_cli.benchmark.run_models import benchmark_models
    from timesformer_cli.cli.formats import require_writable, writing
    from timesformer_cli.cli.progress import locate_shown, steps
    from timesformer_cli.cli.show.benchmark_models import RENDERERS

    models = tuple(locate_shown(name) for name in names)
    for located in models:
        require_writable(output, located.files)
    chosen = options.fill(ModelBenchmarkOptions, context, models=models)
    with writing(output) as stream:
        with steps() as watch:
            rows = benchmark_models(chosen, watch)
        RENDERERS[written](rows, stream)


def _instead(explain: str | None, written: str, output: Path | None) -> None:
    """Show what needs no measuring: pictures of schemes, or the published tables."""
    from timesformer_cli.cli.formats import writing

    if explain is not None and written != "table":
        raise UsageError(f"--explain draws with letters, not {written}; give -o a .txt")
    with writing(output) as stream:
        if explain is not None:
            from timesformer_cli.cli.draw.scheme import show_scheme

            show_scheme(explain, stream)
        else:
            from timesformer_cli.cli.show.published import RENDERERS
            from timesformer_cli.cost.published import compared

            RENDERERS[written](list(compared()), stream)


def _words(option: str, text: str) -> list[str]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words:
        raise UsageError(f"{option} is empty; give one value, or several with commas")
    return words


def _schemes(given: list[str]) -> Iterator[str]:
    """Names, groups and definitions, as `SchemeBenchmarkOptions` holds them."""
    from timesformer_cli.typed.schemes import is_definition, is_toml, read_scheme

    for text in given:
        if is_definition(text) or is_toml(text):
            yield read_scheme(text)
        else:
            yield from _words("--attention", text.lower())


def _numbers(option: str, text: str) -> list[int]:
    words = _words(option, text)
    wrong = [word for word in words if not word.isdecimal() or not 0 < int(word) < 10**6]
    if wrong:
        raise UsageError(f"{option} takes whole numbers from 1, such as 8,16; got '{wrong[0]}'")
    return list(dict.fromkeys(map(int, words)))
