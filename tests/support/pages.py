"""What README.md and the pages of docs/ show: commands with their output, code, links, headings."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
}
BARS = re.compile("[▏▎▍▌▋▊▉█·]+")
NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?(?:e-\d+)?")
SKIPPED = "..."  # a line that stands for any lines


@dataclass(frozen=True, kw_only=True)
class ShownCommand:
    """A command of a console block: as typed, without the comment behind it, and the lines below."""

    page: str
    command: str
    output: tuple[str, ...]

    def words(self) -> list[str]:
        """The words of `tsf` in it, without the pipe before and the redirection behind; or none."""
        typed = re.sub(r"^torchrun .* -m timesformer_cli ", "tsf ", self.command)
        last = shlex.split(typed.split(" | ")[-1].split(" > ")[0])
        return last[1:] if last[0] == "tsf" else []


def shown_commands(page: str) -> list[ShownCommand]:
    """All commands of a page, in the order of their lines."""
    return [
        ShownCommand(
            page=page,
            command=re.split(r"\s{2,}#", command)[0].strip(),
            output=tuple(output.splitlines()),
        )
        for block in re.findall(r"^```console\n(.*?)^```", PAGES[page], re.MULTILINE | re.DOTALL)
        for command, output in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE)
    ]


def python_code(page: str) -> str:
    """The Python blocks of a page, as one program."""
    return "\n".join(re.findall(r"^```python\n(.*?)^```", PAGES[page], re.MULTILINE | re.DOTALL))


def inline_code(text: str) -> list[str]:
    """What stands between backticks outside of blocks."""
    return re.findall(r"`([^`]+)`", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


def require_like(shown: tuple[str, ...], found: list[str], *, labels_from: float) -> None:
    """Assert that lines are those shown, but for bars, spacing, dtypes and a little in the numbers.

    Words behind a score of less than `labels_from` per cent are not compared: in other arithmetic
    two labels may change places.
    """
    pieces: list[list[str]] = [[]]
    for line in shown:
        if line == SKIPPED:
            pieces.append([])
        else:
            pieces[-1].append(line)
    if len(pieces) == 1:
        assert len(found) == len(shown)
    start = 0
    for number, piece in enumerate(pieces):
        last = number == len(pieces) - 1
        places = [0] if number == 0 else list(range(start, len(found) - len(piece) + 1))
        if last and number:
            places = places[-1:]  # the end of what is shown is the end of what is found
        if not piece:
            continue
        fitting = [
            place
            for place in places
            if all(map(lambda a, b: _like(a, b, labels_from), piece, found[place:]))
            and len(found) - place >= len(piece)
        ]
        assert fitting, "\n".join(["shown:", *piece, "found:", *found[start:]])
        start = fitting[0] + len(piece)


def _like(shown: str, found: str, labels_from: float) -> bool:
    mine, theirs = (NUMBER.findall(line) for line in (shown, found))
    if len(mine) != len(theirs):
        return False
    per_cent = "%" in shown
    score = re.search(r"([\d.+-]+) %", shown)
    if not (score and float(score[1].lstrip("+-")) < labels_from):
        skeletons = [
            re.sub("bfloat16|float32", "DTYPE", " ".join(BARS.sub("", line).split()))
            for line in (shown, found)
        ]
        if len({NUMBER.sub("#", skeleton) for skeleton in skeletons}) > 1:
            return False
    return all(
        float(a.replace(",", ""))
        == pytest.approx(float(b.replace(",", "")), rel=0.01, abs=2 if per_cent else 0.02)
        for a, b in zip(mine, theirs, strict=True)
    )
