"""What was found in a library as a page that needs no other file, but for the videos it shows."""

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

from timesformer_cli.cli.formats import csv_cell

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; media-src file:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
body {{ font: 15px/1.4 system-ui, sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em }}
ol {{ list-style: none; padding: 0; display: grid; gap: 1em;
      grid-template-columns: repeat(auto-fill, minmax(20em, 1fr)) }}
li {{ border: 1px solid #8886; border-radius: 6px; padding: .7em; overflow-wrap: anywhere }}
video {{ width: 100%; background: #000 }}
@media (prefers-color-scheme: dark) {{ body {{ background: #181818; color: #ddd }} }}
</style>
</head>
<body>
<h1>{title}</h1>
<ol>
{items}</ol>
</body>
</html>
"""
VIDEO = '<video controls preload="none" src="{source}"></video>\n<div>{name}</div>\n'


class Shown(NamedTuple):
    """A part of a video, from its start to its end in seconds; None is the video's own end."""

    video: str
    start: float = 0.0
    end: float | None = None


def page(title: str, items: Iterable[tuple[Sequence[Shown], Sequence[str]]]) -> str:
    """A page of videos, each item with the lines that say what it is.

    The videos are played from where they lie, each from its moment on; none of it is copied.
    """
    return PAGE.format(title=escape(title), items="".join(map(_item, items)))


def _item(item: tuple[Sequence[Shown], Sequence[str]]) -> str:
    videos, lines = item
    parts = [
        VIDEO.format(source=escape(_source(each)), name=escape(_plain(each.video)))
        for each in videos
    ]
    parts += [f"<div>{escape(_plain(line))}</div>\n" for line in lines]
    return f"<li>\n{''.join(parts)}</li>\n"


def _source(shown: Shown) -> str:
    """The address of the file, with the part to play."""
    until = "" if shown.end is None else f",{shown.end:g}"
    return f"{Path(shown.video).absolute().as_uri()}#t={shown.start:g}{until}"


def _plain(text: str) -> str:
    """Text without what steers, and with bytes that are no UTF-8 escaped."""
    told = csv_cell(f" {text}")  # behind a space nothing is a formula
    return str(told)[1:]
