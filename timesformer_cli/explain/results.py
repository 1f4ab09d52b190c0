"""What an explanation holds."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from timesformer_cli.explain.options import Method
from timesformer_cli.inference.classified import Failed
from timesformer_cli.results import IF_ANY, UNWRITTEN, array
from timesformer_cli.video.facts import Pixels

Map = npt.NDArray[np.float32]  # (t h w): frames, or tubelets, then rows and columns of patches


@dataclass(frozen=True, kw_only=True, slots=True)
class CropBox:
    """The part of the shown picture that the model saw, in the video's own pixels."""

    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """The score while patches are blanked, or shown, in some order: from none to all of them."""

    deletion: tuple[float, ...]
    insertion: tuple[float, ...]

    @property
    def deleted(self) -> float:
        """The area under the deletion curve: small where the order finds what counts."""
        return _area(self.deletion)

    @property
    def inserted(self) -> float:
        """The area under the insertion curve: large where the order finds what counts."""
        return _area(self.insertion)


@dataclass(frozen=True, kw_only=True, slots=True)
class MapProof:
    """The map's order of patches, beside orders that know nothing of the clip."""

    map: Curve
    random: tuple[Curve, ...]
    centre: Curve  # patches near the middle of the picture first

    @property
    def better_than_chance(self) -> bool:
        """Whether the map wins on both curves against every random order."""
        return all(
            self.map.deleted < other.deleted and self.map.inserted > other.inserted
            for other in self.random
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Explained:
    """What a model looked at in one clip of a video."""

    video: str
    status: Literal["ok"]
    model: str
    device: str
    decoder: str
    label: str
    score: float  # of the label
    best: str  # the label with the highest score
    method: Method
    # Not negative; it sums to one, unless it is zero everywhere.
    map: Map = field(metadata=array(axes=3, digits=7))
    times: tuple[float, ...]  # seconds of all frames; a row of the map has equally many
    crop: CropBox
    # By row of the map: by how much the score falls when its frames are replaced by those of their
    # neighbour, whichever of both lowers it more; 0 where it does not fall.
    carried: tuple[float, ...]
    proof: MapProof | None = field(default=None, metadata=IF_ANY)
    seconds: float
    warnings: tuple[str, ...] = field(default=(), metadata=IF_ANY)
    # The frames, whole, `(frames height width 3)`.
    pictures: Pixels = field(metadata=UNWRITTEN)
    # Left, top, width, height of the crop in `pictures`.
    seen: tuple[int, int, int, int] = field(metadata=UNWRITTEN)

    @property
    def moments(self) -> tuple[float, ...]:
        """Seconds of each row of the map: the middle of its frames."""
        return tuple(float(part.mean()) for part in np.split(np.array(self.times), len(self.map)))


Explanation = Explained | Failed


def _area(scores: tuple[float, ...]) -> float:
    """The area under a curve whose points are equally far apart between 0 and 1."""
    return float((sum(scores) - (scores[0] + scores[-1]) / 2) / (len(scores) - 1))
