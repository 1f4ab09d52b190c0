"""Every attention scheme: its passes, and what else a model of that name has."""

from dataclasses import dataclass, replace
from typing import Literal

from timesformer_cli.grouping import EVERYWHERE, Grid, Grouping

PositionKind = Literal["separate", "table", "sinusoidal", "rotary", "rotary-3d", "frame", "time"]
PoolerKind = Literal["block", "heads"]
Activation = Literal["gelu", "gelu-tanh", "geglu"]
# Channels of the MLP's first map that become one in the activation: geglu takes a value and a gate.
ACTIVATION_INPUTS: dict[Activation, int] = {"gelu": 1, "gelu-tanh": 1, "geglu": 2}


@dataclass(frozen=True, slots=True)
class Scheme:
    """The attention passes of one block, and what else a model of that name has."""

    passes: tuple[Grouping, ...]  # in order, each with weights of its own
    summary: str  # for tables and pages
    alternate: tuple[Grouping, ...] = ()  # passes of every second block; () means the same ones
    bridged: bool = True  # every pass but the last ends in one more linear map
    tubelet: int = 1  # frames in a patch, where the configuration does not say
    positions: PositionKind = "separate"  # where the configuration does not say
    activation: Activation = "gelu"
    frame_blocks: int = 0  # blocks of a second transformer over the frames' class tokens
    # A second path of every frame and a quarter of the width: the grouping of its patches that a
    # patch looks at. None means that there is no such path.
    fused: Grouping | None = None
    fuse_every: int = 3  # it looks there before its first block, and before every third from there
    final_norm_eps: float | None = None  # None keeps the configuration's `norm_eps`
    # Blocks of an attentive pooler, where the configuration does not say: the patches pass through
    # all but the last, in which one learned query reads them. 0 means that their mean is read.
    pooler_blocks: int = 0
    pooler: PoolerKind = "block"  # what the query's is: a block of its own, or wide heads alone
    pooler_scheme: str = "videomae"  # of its other blocks: every patch sees every other
    pooler_mlp_ratio: int = 4  # times the width, of its MLPs; 0 means as in the blocks
    # Blocks of a second transformer, where the configuration does not say: over the same place in
    # all frames, after the first one's norm.
    time_blocks: int = 0
    softcap: float = 0  # attention's logits are bent to stay between this and its negative; 0: not

    def passes_of(self, block: int) -> tuple[Grouping, ...]:
        """The passes of the block with this number, from 0."""
        return self.alternate if block % 2 and self.alternate else self.passes

    @property
    def mixes_time(self) -> bool:
        """Whether patches of different frames meet; if not, there are no temporal positions."""
        return any(grouping.mixes_time for grouping in self.passes)

    @property
    def sees_time(self) -> bool:
        """Whether frames meet anywhere, be it as class tokens of a second transformer."""
        return self.mixes_time or self.frame_blocks > 0 or self.time_blocks > 0

    @property
    def cls_per_frame(self) -> bool:
        """Whether each frame keeps a class token of its own, averaged before the head."""
        return any(grouping.cls == "own" for grouping in self.passes)

    @property
    def has_cls(self) -> bool:
        """Whether the head reads a class token; without one it reads the mean of the patches."""
        return any(grouping.cls != "absent" for grouping in self.passes)

    @property
    def activation_inputs(self) -> int:
        """Channels of the MLP's first map that become one in the activation."""
        return ACTIVATION_INPUTS[self.activation]

    def require_divisible(self, grid: Grid) -> None:
        """Raise UsageError where the groups do not divide the grid (frames, rows, columns)."""
        for grouping in self.passes + self.alternate:
            for part in grouping.parts:
                part.lengths(grid)


# The outer factor of a split names the group in LOCAL (neighbours stay together), the inner one in
# STRIDED (every second patch): the same split, read from its two ends.
JOINT = Grouping("t h w -> () (t h w)")
SPACE = Grouping("t h w -> (t) (h w)")
TIME = Grouping("t h w -> (h w) (t)", cls="absent")
WIDTH = Grouping("t h w -> (t h) (w)")
HEIGHT = Grouping("t h w -> (t w) (h)")
LOCAL = Grouping("t (i h) (j w) -> (i j) (t h w)", factors=(("i", 2), ("j", 2)))
STRIDED = Grouping("(t s) (h i) (w j) -> (s i j) (t h w)", factors=(("s", 2), ("i", 2), ("j", 2)))
PATCHES = replace(JOINT, cls="absent")
FRAME = replace(SPACE, cls="absent")
# The size of a window is fixed, and the grid says how many there are; else the split is LOCAL's.
COLUMN = Grouping(
    "t (j h) (k w) -> (j k) (t h w)", cls="absent", factors=(("h", 7), ("w", 7)), padded=True
)
WINDOW = Grouping(
    "(i t) (j h) (k w) -> (i j k) (t h w)",
    cls="absent",
    factors=(("t", 8), ("h", 7), ("w", 7)),
    padded=True,
)
# Moved by half a window. A window then holds patches from both edges of the grid; the reach, one
# less than a window, keeps these from seeing each other.
SHIFTED = replace(WINDOW, shift=(4, 3, 3), reach=(7, 6, 6))
NEAR = replace(TIME, reach=(1, EVERYWHERE, EVERYWHERE))
EVERY_SECOND = replace(SPACE, stride=2)
# The frames of the fast path that one tubelet of the slow one spans.
TUBELET = Grouping("(t f) h w -> (t h w) (f)", cls="absent", factors=(("f", 4),))

VIVIT = Scheme(
    (JOINT,),
    "every tubelet sees every other",
    bridged=False,
    tubelet=2,
    positions="table",
    activation="gelu-tanh",
)

# Order and definitions: arXiv 2102.05095, section 3 and figure 1.
PAPER: dict[str, Scheme] = {
    "space": Scheme((replace(SPACE, cls="own"),), "each frame alone, averaged at the end"),
    "joint": Scheme((JOINT,), "every patch sees every patch of the clip"),
    "divided": Scheme((TIME, SPACE), "the same place in all frames, then the frame"),
    "sparse": Scheme((LOCAL, STRIDED), "a quarter of the picture, then every second patch"),
    "axial": Scheme((TIME, WIDTH, HEIGHT), "along time, then width, then height"),
}
# TimeSformer's relatives.
RELATIVES: dict[str, Scheme] = {
    # Tubelets of two frames, an approximate GELU, no extra maps: arXiv 2103.15691, section 3.3.
    "vivit-1": VIVIT,
    "vivit-2": replace(
        VIVIT,
        passes=(replace(SPACE, cls="own"),),
        summary="each frame alone, then a second transformer over their class tokens",
        positions="separate",
        frame_blocks=4,
    ),
    "vivit-3": replace(
        VIVIT,
        passes=(FRAME, TIME),
        summary="the frame, then the same place in all frames; without a class token",
    ),
    "vivit-4": replace(
        VIVIT,
        passes=(replace(FRAME, second_grouping=TIME),),
        summary="half of the heads in the frame, half along time; without a class token",
    ),
    "videomae": Scheme(  # arXiv 2203.12602
        (PATCHES,),
        "every tubelet sees every other; their mean is read out",
        tubelet=2,
        positions="sinusoidal",
        final_norm_eps=1e-5,  # torch's default, as in the published code
    ),
    "vjepa2": Scheme(  # arXiv 2506.09985
        (PATCHES,),
        "every tubelet sees every other; a pooler that attends reads them out",
        tubelet=2,
        positions="rotary-3d",
        pooler_blocks=4,
    ),
    "videoprism": Scheme(  # arXiv 2402.13217
        (FRAME,),
        "each frame alone, then each place through all frames; a pooler that attends reads them out",
        positions="frame",
        pooler_blocks=1,
        pooler="heads",
        pooler_scheme="capped",
        pooler_mlp_ratio=0,
        time_blocks=4,
        softcap=50,
    ),
    "lucidrains": Scheme(  # github.com/lucidrains/TimeSformer-pytorch
        (replace(TIME, cls="global"), replace(SPACE, cls="global")),
        "divided, with a class token that sees every patch, and rotary positions",
        bridged=False,
        positions="rotary",
        activation="geglu",
    ),
    "windowed": Scheme((COLUMN,), "windows of 7 x 7 patches through all frames, apart to the end"),
    "shifted": Scheme(  # arXiv 2106.13230, without its merging of patches
        (WINDOW,),
        "windows of 8 x 7 x 7 patches, moved by half in every second block",
        alternate=(SHIFTED,),
    ),
    "local-strided": Scheme(
        (NEAR, EVERY_SECOND),
        "one frame before and after, then every second patch of the frame",
    ),
    "two-pathway": Scheme(
        (TIME, SPACE),
        "divided over tubelets of 4 frames, beside a narrow path that sees every frame",
        tubelet=4,
        fused=TUBELET,
    ),
}
SCHEMES = PAPER | RELATIVES
# Of second transformers only.
INNER: dict[str, Scheme] = {
    "time": Scheme((TIME,), "the same place in all frames", positions="time", softcap=50),
    "capped": Scheme(
        (PATCHES,), "every patch sees every other", positions="sinusoidal", softcap=50
    ),
}
