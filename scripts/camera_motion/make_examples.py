"""Make `examples/*.mp4`: short films of known camera motion over freely licensed pictures."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import av
import cv2
import numpy as np

from scripts.camera_motion.film import render
from scripts.camera_motion.paths import Floats
from scripts.camera_motion.things import Picture
from scripts.camera_motion.wear import Clip

WIDTH, HEIGHT, RATE = 426, 240, 30
FINE = 2  # frames are rendered so many times larger, then averaged down


@dataclass(frozen=True, slots=True)
class Move:
    """One camera move."""

    degree: int  # of freedom: RIGHT, DOWN, IN or CLOCKWISE
    amount: float  # frame widths, log magnification, or radians


@dataclass(frozen=True, slots=True)
class Example:
    """A film over one picture."""

    picture: str  # file name
    centre: tuple[float, float]  # where the camera rests, in shares of width and height
    view: float  # in picture widths
    moves: tuple[Move, ...]  # one after another
    shake: float = 0.0  # in frame widths
    seconds: float = 3.0


RIGHT, DOWN, IN, CLOCKWISE = range(4)
EXAMPLES = {
    "static": Example("coffee.png", (0.5, 0.5), 0.9, ()),
    "pan_left": Example("china.jpg", (0.5, 0.5), 0.55, (Move(RIGHT, -0.6),)),
    "pan_right": Example("rocket.jpg", (0.5, 0.72), 0.55, (Move(RIGHT, 0.6),)),
    "tilt_up": Example("astronaut.png", (0.48, 0.42), 0.6, (Move(DOWN, -0.45),)),
    "tilt_down": Example("rocket.jpg", (0.45, 0.5), 0.5, (Move(DOWN, 0.45),)),
    "zoom_in": Example("chelsea.png", (0.52, 0.42), 0.6, (Move(IN, 0.7),)),
    "zoom_out": Example("china.jpg", (0.5, 0.45), 0.62, (Move(IN, -0.6),)),
    "roll_clockwise": Example("coffee.png", (0.5, 0.5), 0.6, (Move(CLOCKWISE, 0.7),)),
    "roll_counter_clockwise": Example(
        "hubble_deep_field.jpg", (0.5, 0.5), 0.35, (Move(CLOCKWISE, -0.7),)
    ),
    "shake": Example("astronaut.png", (0.5, 0.4), 0.6, (), shake=0.02),
    "pan_left_then_zoom_in": Example(
        "china.jpg", (0.5, 0.45), 0.55, (Move(RIGHT, -0.7), Move(IN, 0.7)), seconds=6.0
    ),
}


def find(picture: str) -> Picture:
    """Read a sample picture from the package that brings it, scikit-image or scikit-learn."""
    for module, inner in (("skimage", "data"), ("sklearn", "datasets/images")):
        spec = find_spec(module)
        if spec is None or not spec.submodule_search_locations:
            raise SystemExit(f"{module} is missing; pip install -e '.[data]'")
        path = Path(spec.submodule_search_locations[0]) / inner / picture
        if path.exists():
            return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    raise SystemExit(f"no {picture} among the sample pictures of scikit-image and scikit-learn")


def path_of(example: Example, rng: np.random.Generator) -> Callable[[Floats], Floats]:
    """The camera's path: its moves one after another, eased at both ends, slightly hand-held."""
    frequency = rng.uniform(1.5, 6, (4, 3)) * example.seconds
    phase = rng.uniform(0, 2 * np.pi, (4, 3))
    hand = 0.0006 * np.array([1, 1, 0.2, 1]) if example.moves else np.zeros(4)
    if example.shake:
        hand = example.shake * np.array([1, 1, 0, 0.6])

    def camera(t: Floats) -> Floats:
        state = np.zeros((len(t), 4))
        for place, move in enumerate(example.moves):
            p = np.clip(t * len(example.moves) - place, 0, 1)
            eased = 0.4 * p + 0.6 * p * p * (3 - 2 * p)
            state[:, move.degree] += move.amount * (eased - 0.5)
        waves = np.sin(2 * np.pi * frequency * t[:, None, None] + phase).mean(-1)
        return state + waves * hand

    return camera


def film(name: str, example: Example) -> Clip:
    """Render an example at its final size, `(frames height width 3)`."""
    picture = find(example.picture)
    height, width = picture.shape[:2]
    camera = path_of(example, np.random.default_rng([2024, list(EXAMPLES).index(name)]))
    count = round(example.seconds * RATE)
    frames = []
    for start in range(0, count, 30):
        large = render(
            picture,
            camera,
            centre=np.array(example.centre) * (width, height),
            view=example.view * width,
            times=np.arange(start, min(start + 30, count)) / (count - 1),
            side=WIDTH * FINE,
        )
        top = (WIDTH - HEIGHT) // 2 * FINE
        for frame in large[:, top : top + HEIGHT * FINE]:
            frames.append(cv2.resize(frame, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA))
    return np.stack(frames)


def write(clip: Clip, path: Path) -> None:
    """Encode a clip as H.264."""
    with av.open(path, "w") as out:
        stream = out.add_stream("libx264", rate=RATE, options={"crf": "27", "preset": "veryslow"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.thread_count = 1
        for frame in clip:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        out.mux(stream.encode(None))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[2] / "examples")
    folder = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    for name, example in EXAMPLES.items():
        write(film(name, example), folder / f"{name}.mp4")


if __name__ == "__main__":
    main()
