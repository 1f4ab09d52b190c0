"""`tsf serve`: a model that stays warm, behind HTTP."""

import socket
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from timesformer_cli import __version__
from timesformer_cli.cli import options
from timesformer_cli.errors import UsageError
from timesformer_cli.weights.catalogue import DEFAULT

PANEL, LIMITS = "Address", "Limits"
FILES = "tsf-serve"  # how the folders of uploads begin
SHORTEST_TOKEN = 16  # characters
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
ANY = ("0.0.0.0", "::")
Address = tuple[socket.AddressFamily, tuple[str, int]]
Host = Annotated[
    str,
    typer.Option(
        help="The address to listen at; one that others can reach needs --token-file.",
        rich_help_panel=PANEL,
    ),
]
Port = Annotated[
    int,
    typer.Option(min=0, max=65535, help="The port; 0 takes a free one.", rich_help_panel=PANEL),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Requests must say the token that this file holds.",
        show_default="none",
        rich_help_panel=PANEL,
    ),
]
AllowHost = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="A name that requests may call the server by, besides that of --host.",
        show_default="those of this machine",
        rich_help_panel=PANEL,
    ),
]
Root = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Requests may name videos below this folder.",
        show_default="uploads only",
        rich_help_panel=LIMITS,
    ),
]
MaxUpload = Annotated[
    str,
    typer.Option(
        metavar="SIZE", help="The largest video, such as 2GiB or 500MB.", rich_help_panel=LIMITS
    ),
]
Queue = Annotated[
    int,
    typer.Option(
        min=1, max=1000, help="Requests at a time; more are told to wait.", rich_help_panel=LIMITS
    ),
]
Deadline = Annotated[
    float,
    typer.Option(
        min=1,
        max=86400,
        metavar="SECONDS",
        help="Time for a request, its upload among it.",
        rich_help_panel=LIMITS,
    ),
]


def serve(
    context: typer.Context,
    model: options.Model = DEFAULT,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    token_file: TokenFile = None,
    allow_host: AllowHost = None,
    root: Root = None,
    max_upload: MaxUpload = "2GiB",
    queue: Queue = 32,
    deadline: Deadline = 300.0,
    labels: options.OwnLabels = None,
    template: options.Templates = None,
    none_below: options.NoneBelow = None,
    multi_label: options.MultiLabel = False,
    device: options.Devices = "auto",
    dtype: options.RunDtype = "auto",
    compile: options.Compile = False,
    batch_size: options.BatchSize = 8,
    threads: options.Threads = None,
    decoder: options.Decoder = "auto",
    workers: options.Workers = None,
    timeout: options.Timeout = 60.0,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Answer over HTTP what videos show.

    The model stays warm.

    Example: tsf serve --model camera-motion
    """
    from timesformer_cli.cli.benchmark import parse_bytes
    from timesformer_cli.cli.progress import locate_shown
    from timesformer_cli.cli.stderr import errors_explained, note, quietly, terminated_in_order
    from timesformer_cli.inference.process_tuning import let_threads_sleep, use_threads

    with errors_explained(debug), quietly(quiet), terminated_in_order(), ExitStack() as stack:
        options.require_devices(device, several=True)
        _require_packages()
        most = parse_bytes(max_upload, "--max-upload")
        token = None if token_file is None else _read_token(token_file)
        if root is not None and not root.is_dir():
            raise UsageError(f"--root {root}: is no folder")
        asked = options.parse_labels(labels, template, none_below)
        address = _address(host, port)
        if token is None and not _is_loopback(address):
            raise UsageError(
                f"--host {host} can be reached from other machines, so requests need a token: give "
                "--token-file"
            )
        listener = stack.enter_context(_bound(address))
        use_threads(threads)
        let_threads_sleep()  # decoders work beside the model
        located = locate_shown(model)

        from timesformer_cli.cli.asked import CommandReader
        from timesformer_cli.cli.server_run import run_server
        from timesformer_cli.files import scratch_folder
        from timesformer_cli.inference.classify import ClassifyOptions
        from timesformer_cli.serving.engine import Engine
        from timesformer_cli.serving.options import ServeOptions

        chosen = ServeOptions(
            classify=options.fill(ClassifyOptions, context, model=located, **asked),
            version=__version__,
            root=root,
            token=token,
            hosts=_names(host, allow_host),
            max_upload=most,
            queue=queue,
            deadline=deadline,
        )
        folder = stack.enter_context(scratch_folder(FILES))
        engine = stack.enter_context(Engine(chosen.classify, queue, note))
        run_server(chosen, engine, CommandReader(chosen.classify), folder, listener)


def _require_packages() -> None:
    """Raise UsageError where what serves is not installed."""
    from timesformer_cli.installing import how_to_install

    try:
        import multipart  # noqa: F401
        import prometheus_client  # noqa: F401
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"tsf serve needs {error.name}, which is not installed: {how_to_install('serve')}"
        ) from None


def _read_token(path: Path) -> bytes:
    """What requests must know; raises UsageError for what is too short to be a secret."""
    from timesformer_cli.files import regular_file

    try:
        with regular_file(path) as (file, _):
            token = file.read(4096).strip()
    except OSError as error:
        raise UsageError(f"--token-file {path}: cannot be read ({error.strerror})") from error
    if len(token) < SHORTEST_TOKEN or len(token.split()) != 1:
        raise UsageError(
            f"--token-file {path}: holds no token: one word of {SHORTEST_TOKEN} characters or more, "
            "such as openssl rand -hex 32 prints"
        )
    return token


def _address(host: str, port: int) -> Address:
    """The address that a name stands for, the first of several; raises UsageError."""
    try:
        family, *_, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        raise UsageError(f"--host {host}: is no address of this machine ({error})") from error
    return family, (str(place[0]), int(place[1]))


def _is_loopback(address: Address) -> bool:
    from ipaddress import ip_address

    return ip_address(address[1][0].partition("%")[0]).is_loopback


def _bound(address: Address) -> socket.socket:
    """A socket at the address, which nobody can connect to yet; raises UsageError."""
    family, (host, port) = address
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if sys.platform != "win32":  # where it would share the port with another program
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise UsageError(
            f"port {port} of {host} cannot be had ({error.strerror}); --port 0 takes a free one"
        ) from error
    return listener


def _names(host: str, allowed: list[str] | None) -> frozenset[str] | None:
    """What requests may call the server; None is anything, for a public one, which has a token."""
    if host in ANY and not allowed:
        return None
    return LOOPBACK | {host.lower()} | {name.lower() for name in allowed or ()}
