"""One HTML file: a template, a style, a program, and the answer as JSON."""

import os
from base64 import b64encode
from collections.abc import Iterable, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO
from urllib.parse import quote

from timesformer_cli.results import to_json, to_plain

if TYPE_CHECKING:
    from jinja2 import Template

    from timesformer_cli.pages.pictures import Sheet

HERE = Path(__file__).parent
TITLES = {
    "classify": "Labels of {}",
    "timeline": "Timelines of {}",
    "evaluate": "Evaluation on {}",
}
# In this order they are one program: each file uses what stands above it.
SCRIPTS = "dom marks time_line player table evaluation live report start".split()


def render_page(
    view: str, title: str, results: Sequence[Any] = (), *, connects: bool = False, **more: Any
) -> str:
    """A page of that view: classify, timeline, evaluate, search, duplicates, or live.

    The view draws the results, which are dataclasses, and what `more` there is for JSON. A page
    `connects` to the server that it came from, or to nobody.
    """
    return _template().render(
        title=title,
        style=_style(),
        script=_script(),
        policy=page_policy(connects=connects),
        data={"view": view, "results": [to_json(result) for result in results], **more},
    )


def render_report(
    view: str,
    results: Sequence[Any],
    stream: TextIO,
    pictures: "Sequence[Sheet | None]" = (),
    **more: Any,
) -> str:
    """A page of that view about videos, to be written to the stream; one picture for each result."""
    videos = [result.video for result in results]
    return render_page(
        view,
        TITLES[view].format(f"{len(videos):,} video{'s' * (len(videos) != 1)}"),
        results,
        media=addresses_of(videos, stream),
        pictures=[sheet and to_plain(sheet) for sheet in pictures],
        **more,
    )


def address_of(video: str, folder: Path | None) -> str:
    """Where a page in `folder` finds a video: below it by a relative address, else by a whole one.

    So a page moves together with the videos below it, and else finds them from wherever it lies.
    """
    path = Path(os.path.abspath(video))
    top = None if folder is None else os.path.abspath(folder)
    if top is not None and path.is_relative_to(top):
        return quote(os.fsencode(path.relative_to(top).as_posix()))
    return path.as_uri()


def folder_of(stream: TextIO) -> Path | None:
    """The folder of the file that is written; None where the stream is no file with a name."""
    name = getattr(stream, "name", None)
    named = isinstance(name, str | Path) and os.path.isfile(name)
    return Path(str(name)).parent if named else None


def addresses_of(videos: Iterable[str], stream: TextIO) -> list[str]:
    """The address of each video, for a page that is written to the stream."""
    folder = folder_of(stream)
    return [address_of(video, folder) for video in videos]


def page_policy(*, connects: bool) -> str:
    """What a page may do: run its own program, show pictures in it, play videos."""
    allowed = {
        "default-src": "'none'",
        "script-src": _digest(_script()),
        "style-src": _digest(_style()),
        "img-src": "data:",
        "media-src": "blob:" if connects else "'self' file:",
        "connect-src": "'self'" if connects else "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {sources}" for name, sources in allowed.items())


def _digest(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


@cache
def _style() -> str:
    return (HERE / "style.css").read_text(encoding="utf-8")


@cache
def _script() -> str:
    return "\n".join((HERE / f"script/{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)


@cache
def _template() -> "Template":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    # Every character but ASCII is escaped, so a page can hold a name of whatever bytes; and `<` is,
    # so no name ends the element that the JSON stands in.
    made.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    return made.get_template("page.html")
