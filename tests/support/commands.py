"""Each command that takes a model, on small clips: for what must hold of all of them."""

from pathlib import Path

from click.testing import Result
from typer.testing import CliRunner

from tests.support import clips
from timesformer_cli.cli.app import app

# A new command that takes a model belongs here. Words in capitals are filled in by `run_command`.
COMMANDS = [
    ["classify", "VIDEO", "--model", "MODEL"],
    ["classify", "VIDEO", "--model", "MODEL", "--device", "cpu,cpu"],
    ["timeline", "VIDEO", "--model", "MODEL"],
    ["watch", "STREAM", "--model", "MODEL", "--follow", "--idle", "0.1"],
    ["explain", "VIDEO", "--model", "MODEL"],
    ["embed", "VIDEO", "--model", "MODEL"],
    ["suggest", "VIDEO", "--model", "MODEL"],
    ["info", "MODEL"],
    ["evaluate", "TABLE", "--model", "MODEL"],
    ["export", "--model", "MODEL", "--pt2", "--output", "OUT"],
    ["convert", "MODEL", "--to", "transformers", "--output", "CONVERTED"],
    ["benchmark", "--model", "MODEL", "--runs", "1"],
    ["train", "DATA", "--init", "MODEL", "--dry-run", "--out", "RUN"],
]


def command_name(arguments: list[str]) -> str:
    """A test's name for it: the command and what tells it from its like."""
    return " ".join(arguments[:1] + arguments[4:6])


def run_command(arguments: list[str], model: str, folder: Path) -> Result:
    """Run it on clips of the classes a and b, made in the folder."""
    video = folder / "data" / "a" / "0.mp4"
    for label in "ab":
        for number in range(2):
            path = folder / "data" / label / f"{number}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            clips.write(path, 24)
    (folder / "table.csv").write_text(f"path,label\n{video},a\n")
    places = {
        "MODEL": model,
        "VIDEO": str(video),
        "STREAM": str(clips.write(folder / "stream.ts", 24)),
        "TABLE": str(folder / "table.csv"),
        "DATA": str(folder / "data"),
        "OUT": str(folder / "model.pt2"),
        "CONVERTED": str(folder / "converted"),
        "RUN": str(folder / "run"),
    }
    return CliRunner().invoke(app, [places.get(word, word) for word in arguments])
