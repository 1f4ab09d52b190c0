"""What is asked of a decode worker and what it answers: plain JSON beside raw pixels."""

from dataclasses import asdict, dataclass
from typing import Any

from timesformer_cli.config import Preprocessing, Sampling
from timesformer_cli.video.facts import Pixels, Probe
from timesformer_cli.video.sample import Jitter


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodeRequest:
    """One video to decode, and how its clips are taken from it."""

    path: str
    sampling: Sampling
    preprocessing: Preprocessing
    clips: int = 1
    crops: int = 1  # of each clip: 1 or 3; 0 for whole pictures
    decoder: str = "auto"
    jitter: Jitter | None = None  # where a training clip lies
    timeout: float = 60.0  # seconds after which a worker that nobody ends ends itself

    def to_header(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_header(cls, header: dict[str, Any]) -> "DecodeRequest":
        """The inverse of `to_header`, from JSON, which knows no tuples."""
        preprocessing, jitter = header["preprocessing"], header["jitter"]
        preprocessing["crop"] = tuple(preprocessing["crop"])
        made = {
            "sampling": Sampling(**header["sampling"]),
            "preprocessing": Preprocessing(**preprocessing),
            "jitter": jitter and Jitter(**jitter),
        }
        return cls(**header | made)


@dataclass(frozen=True, slots=True)
class View:
    """One clip through one crop: bounds and wanted moments of its frames, seconds from the start."""

    start: float
    end: float
    crop: str
    times: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Decoded:
    """The clips of one video: RGB `frames` as `(views, frames, height, width, 3)`, clip-major."""

    frames: Pixels
    views: tuple[View, ...]
    decoder: str
    warnings: tuple[str, ...]
    seconds: float
    probe: Probe

    def to_header(self) -> dict[str, Any]:
        """Everything but the pixels, ready for JSON."""
        return {
            "shape": self.frames.shape,
            "views": [asdict(view) for view in self.views],
            "decoder": self.decoder,
            "warnings": self.warnings,
            "seconds": self.seconds,
            "probe": asdict(self.probe),
        }

    @classmethod
    def from_header(cls, header: dict[str, Any], frames: Pixels) -> "Decoded":
        """The inverse of `to_header`, with the pixels that came beside it."""
        return cls(
            frames=frames.reshape(header["shape"]),
            views=tuple(
                View(**{**view, "times": tuple(view["times"])}) for view in header["views"]
            ),
            decoder=header["decoder"],
            warnings=tuple(header["warnings"]),
            seconds=header["seconds"],
            probe=Probe(**header["probe"]),
        )
