"""What a model is: its architecture, how its clips are taken, how its pictures are prepared."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args

from timesformer_cli.errors import UsageError
from timesformer_cli.grouping import Grid
from timesformer_cli.schemes import INNER, PositionKind, Scheme
from timesformer_cli.sizes import SIZES
from timesformer_cli.text_config import TextConfig
from timesformer_cli.typed.schemes import canonical_scheme, find_scheme, scheme_label

Embedding = Literal["linear", "conv-stem", "flow-stem"]
Readout = Literal["mean", "normed-mean", "first"]

LEAST = {"pooler_blocks": 0, "time_blocks": 0, "classes": 0}  # 1 for all other counts
# Far above every published model, but low enough that a hostile file cannot take all memory.
LARGEST = {
    "dim": 16384,
    "depth": 256,
    "pooler_blocks": 256,
    "time_blocks": 256,
    "frames": 4096,
    "height": 8192,
    "width": 8192,
}
# Values that a field takes from its scheme: what stands for "the scheme's own".
UNSAID: dict[str, Any] = {"tubelet": 0, "positions": "", "pooler_blocks": -1, "time_blocks": -1}
NARROWER = 4  # times: the width, heads and MLPs of a fast path
EVEN = 0.5  # the threshold of a class that has none of its own: as likely as not


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """A TimeSformer's architecture, complete; raises UsageError for one that cannot be built."""

    attention: str = "divided"  # the scheme's name in SCHEMES, or the definition of a typed one
    embedding: Embedding = "linear"
    dim: int = 768  # width of a token
    depth: int = 12  # blocks
    heads: int = 12
    mlp_dim: int = 3072  # width between the MLP's two maps
    frames: int = 8  # of the native clip
    height: int = 224  # of the native clip, in pixels
    width: int = 224
    patch: int = 16  # pixels along each side
    tubelet: int = 0  # frames in a patch; 0 takes the scheme's own
    positions: PositionKind | Literal[""] = ""  # "" takes the scheme's own
    token_shift: bool = False  # each token has some channels of the frames beside its own
    channels: int = 3  # of a picture
    classes: int = 400
    qkv_bias: bool = True
    norm_eps: float = 1e-6
    dropout: float = 0.0  # this and the next two are probabilities
    attention_dropout: float = 0.0
    drop_path: float = 0.0  # of the last block; earlier ones have less
    readout: Readout = "mean"  # what the head sees of several tokens: their mean, or the first
    pooler_blocks: int = -1  # of an attentive pooler, 0 for none; -1 takes the scheme's own
    time_blocks: int = (
        -1
    )  # over the same place in all frames, 0 for none; -1 takes the scheme's own
    multi_label: bool = False  # whether a clip may have several classes: scores are then sigmoids
    # Of such a model: the score from which a clip has a class, one per class; () is EVEN for all.
    thresholds: tuple[float, ...] = ()
    text: TextConfig | None = None  # of a model whose classes are words; 0 classes until they come
    worded: bool = False  # whether words became classes: the head compares directions, as words do

    def __post_init__(self) -> None:
        # The only way to fill in a frozen dataclass.
        object.__setattr__(self, "attention", canonical_scheme(self.attention))
        for own, unsaid in UNSAID.items():
            if getattr(self, own) == unsaid:
                object.__setattr__(self, own, getattr(self.scheme, own))
        for what, value, there in (
            ("patch embedding", self.embedding, get_args(Embedding)),
            ("kind of positions", self.positions, get_args(PositionKind)),
            ("readout", self.readout, get_args(Readout)),
        ):
            if value not in there:
                raise UsageError(f"unknown {what} '{value}'; there are {', '.join(there)}")
        for field in fields(self):
            value = getattr(self, field.name)
            least, most = LEAST.get(field.name, 1), LARGEST.get(field.name, 1_000_000)
            if field.type is int and not least <= value <= most:
                raise UsageError(
                    f"{field.name} is {value}; it must be at least {least} and of sane size"
                )
            if field.type is float and not 0 <= value < 1:
                raise UsageError(f"{field.name} is {value}; it must lie between 0 and 1")
        if self.dim % self.heads:
            raise UsageError(f"width {self.dim} does not divide into {self.heads} heads")
        if self.embedding == "conv-stem" and (self.patch & (self.patch - 1) or self.tubelet > 1):
            raise UsageError("conv-stem needs a patch that is a power of two, and tubelets of 1")
        if self.embedding == "flow-stem" and (
            self.patch % 2
            or self.tubelet > 1
            or self.frames < 2
            or self.height < 16
            or self.width < 16
        ):
            raise UsageError(
                "flow-stem needs two frames or more of 16 pixels or more, an even patch, and tubelets "
                "of 1"
            )
        if self.heads < (most := max(len(grouping.parts) for grouping in self.scheme.passes)):
            raise UsageError(f"{self.scheme_name} shares out its heads: give {most} or more")
        # Turns are known for one axis, time, and for two, rows and columns.
        rotates = all(
            grouping.cls == "global" and len(grouping.members) <= 2
            for grouping in self.scheme.passes
        )
        # 4: half of a head's channels for rows and half for columns, each turned in pairs.
        if self.positions == "rotary" and (not rotates or self.dim // self.heads % 4):
            raise UsageError(
                "rotary positions need a global class token (lucidrains), groups along one or two "
                "axes and heads of 4, 8, 12 ..."
            )
        if self.scheme.has_cls and self.positions == "rotary-3d":
            raise UsageError(
                f"{self.scheme_name} has class tokens: rotary-3d positions need a scheme without"
            )
        if self.pooler_blocks and (self.scheme.frame_blocks or self.scheme.fused):
            raise UsageError(
                f"{self.scheme_name} has a second transformer beside its patches, which a pooler "
                "would not read"
            )
        if self.time_blocks and not self.scheme.time_blocks:
            raise UsageError(f"{self.scheme_name} has no second transformer over time")
        pooled = self.scheme.pooler_blocks == 0 or self.pooler_blocks
        if self.classes < 1 and self.text is None and pooled and self.attention not in INNER:
            raise UsageError("classes is 0; only encoders and models that take words have none")
        if self.text is not None and self.text.dim != self.dim:
            raise UsageError(f"the text tower's width is {self.text.dim}, the model's {self.dim}")
        self._require_thresholds()
        self.scheme.require_divisible(self.grid)

    def _require_thresholds(self) -> None:
        own = tuple(self.thresholds)  # JSON and checkpoints may bring a list
        object.__setattr__(self, "thresholds", own)
        if own and (not self.multi_label or len(own) != self.classes):
            raise UsageError(
                f"{len(own)} thresholds; a model of several labels has one for each of its "
                f"{self.classes} classes, and other models have none"
            )
        for value in own:
            if type(value) not in (int, float) or not 0 <= value <= 1:
                raise UsageError(f"threshold {value!r:.80} is no number from 0 to 1")

    @classmethod
    def of_size(cls, size: str, **changes: Any) -> "ModelConfig":
        """A configuration of a named size (tiny, small, base, ...), other fields as given."""
        if size not in SIZES:
            raise UsageError(f"unknown size '{size}'; there are {', '.join(SIZES)}")
        return cls(**{**SIZES[size]._asdict(), **changes})

    def with_attention(self, name: str) -> "ModelConfig":
        """The same configuration with another scheme and what belongs to that scheme."""
        return replace(self, attention=name, readout="mean", **UNSAID)

    @property
    def unit_features(self) -> bool:
        """Whether a pooler's features are brought to length 1, as those of texts are."""
        return self.text is not None or self.worded

    @property
    def scheme(self) -> Scheme:
        """The attention scheme's definition."""
        return find_scheme(self.attention)

    @property
    def scheme_name(self) -> str:
        """What tables and messages call the scheme."""
        return scheme_label(self.attention)

    @property
    def grid(self) -> Grid:
        """Frames, rows and columns of patches at the native clip shape."""
        return self.grid_of(self.frames, self.height, self.width)

    def grid_of(self, frames: int, height: int, width: int) -> Grid:
        """Patch grid of a clip of this shape; raises UsageError where patches do not divide it."""
        for name, size, unit in (
            ("frame count", frames, self.tubelet),
            ("height", height, self.patch),
            ("width", width, self.patch),
        ):
            if size % unit or size < 1:
                raise UsageError(f"{name} {size} is not a multiple of the model's patch ({unit})")
        return frames // self.tubelet, height // self.patch, width // self.patch

    @property
    def class_tokens(self) -> int:
        """How many class tokens a clip has while it passes through the blocks."""
        return self.grid[0] if self.scheme.cls_per_frame else int(self.scheme.has_cls)

    @property
    def frames_apart(self) -> bool:
        """Whether the first of two transformers makes of a frame, or tubelet, what it shows alone."""
        second = (self.scheme.cls_per_frame and not self.pooler_blocks) or self.time_blocks
        return bool(second) and not self.scheme.mixes_time and not self.token_shift

    @property
    def over_frames(self) -> "ModelConfig | None":
        """The second transformer, whose patches are the frames' class tokens; None without one."""
        if not self.scheme.frame_blocks:
            return None
        return replace(
            self,
            # One patch per frame, and every patch sees every other.
            attention="vivit-1",
            depth=self.scheme.frame_blocks,
            frames=self.grid[0],
            tubelet=1,
            height=self.patch,
            width=self.patch,
            positions="table",
        )

    @property
    def fast(self) -> "ModelConfig | None":
        """The fast path, which has every frame at a quarter of the width; None without one."""
        if self.scheme.fused is None:
            return None
        return replace(
            self,
            attention="divided",
            dim=self.dim // NARROWER,
            heads=max(1, self.heads // NARROWER),
            mlp_dim=self.mlp_dim // NARROWER,
            tubelet=1,
        )

    @property
    def pooler(self) -> "ModelConfig | None":
        """The attentive pooler, whose last block is the query's; None without one.

        Whatever the blocks before it have, its maps have biases and it knows no places, as in the
        published code.
        """
        if not self.pooler_blocks:
            return None
        return replace(
            self,
            attention=self.scheme.pooler_scheme,
            positions="sinusoidal",
            depth=self.pooler_blocks,
            mlp_dim=self.scheme.pooler_mlp_ratio * self.dim or self.mlp_dim,
            qkv_bias=True,
            drop_path=0.0,
            token_shift=False,
            pooler_blocks=0,
            time_blocks=0,
        )

    @property
    def over_time(self) -> "ModelConfig | None":
        """The second transformer, over the same place in all frames; None without one."""
        if not self.time_blocks:
            return None
        return replace(
            self,
            attention="time",
            positions="time",
            depth=self.time_blocks,
            pooler_blocks=0,
            time_blocks=0,
        )

    @property
    def features(self) -> int:
        """How many numbers per clip the head sees."""
        return self.dim + (self.fast.dim if self.fast is not None else 0)

    @property
    def final_norm_eps(self) -> float:
        """Of the norm before the head."""
        # Published code with a mean has a norm of its own for it, with torch's default; the first
        # token is read after the encoder's norm.
        own = self.scheme.final_norm_eps if self.readout == "mean" else None
        return own or self.norm_eps

    @property
    def stem_widths(self) -> tuple[int, ...]:
        """Channels after each stage of the convolutional stem: each halves height and width."""
        stages = self.patch.bit_length() - 1
        return tuple(max(8, self.dim >> (stages - 1 - stage)) for stage in range(stages))

    @property
    def flow_widths(self) -> tuple[int, int, int]:
        """Channels of a flow stem: what it measures at each place, and after each stage there."""
        steps, path = 2 * 26, 8  # into the next frame and out of the one before; up to this one
        return steps + path + self.channels, max(8, self.dim // 2), max(8, self.dim // 2)

    @property
    def each_threshold(self) -> tuple[float, ...]:
        """The score from which a clip has each class, where it may have several."""
        return self.thresholds or (EVEN,) * self.classes

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "ModelConfig":
        """The inverse of `to_dict`; raises UsageError for unknown fields and wrong types."""
        types = {field.name: field.type for field in fields(cls)}
        given = {**values}
        if given.get("text") is not None:
            given["text"] = TextConfig.from_dict(given["text"])
        for name, value in given.items():
            if name not in types:
                raise UsageError(f"unknown configuration field '{name}'")
            if name == "text":
                continue
            kind = types[name] if types[name] in (int, float, bool) else str
            if name == "thresholds" and isinstance(value, list | tuple):
                continue  # its values are looked at where the configuration is made
            # Not isinstance: it would take True for an int.
            fits = type(value) is kind or (kind is float and type(value) is int)
            if not fits:
                raise UsageError(f"configuration field '{name}' has the wrong type: {value!r:.80}")
        return cls(**given)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling:
    """How a clip is taken from a video."""

    frames: int
    # Distance between two frames, in frames of 30 per second: a clip spans the same seconds of any
    # video. None takes the middles of `frames` equal segments of the whole video.
    stride: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Preprocessing:
    """How a picture becomes input: resized (antialiased), cropped, scaled, normalised."""

    # Pixels after resizing: of the short side, which keeps the aspect ratio; or height and width,
    # which both become as given.
    resize: int | tuple[int, int]
    crop: tuple[int, int]  # height and width in pixels
    # Per RGB channel: values are scaled to 0..1, then `(x - mean) / std`.
    mean: tuple[float, float, float] = (0.45, 0.45, 0.45)
    std: tuple[float, float, float] = (0.225, 0.225, 0.225)
    filter: Literal["bilinear", "bicubic"] = "bilinear"  # of the resizing

    def resized_by(self, factor: float) -> "int | tuple[int, int]":
        """`resize` times a factor, rounded."""
        if isinstance(self.resize, int):
            return round(self.resize * factor)
        height, width = self.resize
        return round(height * factor), round(width * factor)
