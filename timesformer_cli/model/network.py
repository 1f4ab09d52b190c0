"""TimeSformer (arXiv 2102.05095), any attention scheme, any clip shape."""

import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from timesformer_cli.config import ModelConfig, Preprocessing, Sampling
from timesformer_cli.errors import UsageError
from timesformer_cli.model.block import Block, make_blocks
from timesformer_cli.model.encoders import (
    POOLERS,
    AttentivePooler,
    FastPath,
    FrameEncoder,
    Fusion,
    HeadsPooler,
    State,
    TimeEncoder,
)
from timesformer_cli.model.patches import EMBEDDINGS
from timesformer_cli.model.positions import POSITIONS, PositionTable, SeparateTables, SmoothTable
from timesformer_cli.model.text import TextTower, unit


def read_out(tokens: Tensor, norm: nn.Module, config: ModelConfig) -> Tensor:
    """One normed token `(b d)` of the class tokens, or else of all tokens, `(b n d)`."""
    read: Tensor
    if config.readout == "normed-mean":
        read = norm(tokens).mean(dim=1)
    else:
        read = norm(tokens[:, 0] if config.readout == "first" else tokens.mean(dim=1))
    return read


class TimeSformer(nn.Module):
    """Maps normalised RGB clips, float `(b t c h w)`, to logits `(b classes)`.

    Any frame count and picture size that the patches divide will do; position tables are resized.
    The model carries what its use needs: `config`, `labels`, `preprocessing` and `sampling`.
    """

    def __init__(
        self,
        config: ModelConfig,
        *,
        labels: tuple[str, ...] = (),
        preprocessing: Preprocessing | None = None,
        sampling: Sampling | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.labels = labels or tuple(f"LABEL_{index}" for index in range(config.classes))
        self.preprocessing = preprocessing or Preprocessing(
            resize=min(config.height, config.width), crop=(config.height, config.width)
        )
        self.sampling = sampling or Sampling(frames=config.frames, stride=None)
        self.patches = EMBEDDINGS[config.embedding](config)
        self.cls = nn.Parameter(torch.empty(1, 1, config.dim)) if config.class_tokens else None
        self.positions = POSITIONS[config.positions](config)
        self.blocks = make_blocks(config)
        self.over_frames = FrameEncoder(config.over_frames) if config.over_frames else None
        self.fast = None
        if config.fast is not None and config.scheme.fused is not None:
            self.fast = FastPath(config, config.fast, config.scheme.fused)
        self.over_time = TimeEncoder(config.over_time) if config.over_time else None
        self.norm = nn.LayerNorm(config.dim, eps=config.final_norm_eps)
        self.pooler = POOLERS[config.scheme.pooler](config.pooler) if config.pooler else None
        self.head = make_head(config)
        self.text = TextTower(config.text) if config.text else None
        self.tokenizer: Path | None = None  # the file that says what tokens the tower reads
        self.reset_parameters()

    def forward(self, clip: Tensor, frames: Tensor | None = None) -> Tensor:
        """Logits `(b classes)`; raises UsageError where the clip's shape does not fit.

        `frames` is kept for parity with lucidrains' TimeSformer: see `features`.
        """
        logits: Tensor = self.head(self.features(clip, frames))
        return logits

    def features(self, clip: Tensor, frames: Tensor | None = None) -> Tensor:
        """What the head sees, `(b d)`: the class token, or else the mean of all tokens or the first.

        An attentive pooler, where there is one, reads all patches instead. With a fast path the
        features of both paths stand side by side. `frames` `(b t)` is false for frames that only
        fill up a batch of clips of different lengths; models with a global class token take it. It
        is kept for parity with lucidrains' TimeSformer, which has such a mask: parity tests give it,
        no command does.
        """
        cls, patches, fast = self._encoded(clip, frames)
        if self.pooler is not None:
            patches = self.norm(patches)  # under its own name: what it was made of is freed
            pooled: Tensor = self.pooler(patches)
            return unit(pooled) if self.config.unit_features else pooled
        if self.over_frames is not None:
            cls = self.over_frames(cls)
        tokens = patches.flatten(1, 3) if self.cls is None else cls
        features: Tensor = read_out(tokens, self.norm, self.config)
        if self.fast is not None and fast is not None:
            features = torch.cat([features, self.fast.read(fast)], dim=-1)
        return features

    def tokens(self, clip: Tensor) -> Tensor:
        """What a pooler reads: all patches after the last block and the norm, `(b t h w d)`."""
        normed: Tensor = self.norm(self._encoded(clip, None)[1])
        return normed

    def _encoded(self, clip: Tensor, frames: Tensor | None) -> tuple[Tensor, Tensor, State | None]:
        """Class tokens, patches and the fast path after all blocks."""
        self._require_fitting(clip, frames)
        fast = None if self.fast is None else self.fast.start(clip)
        patches = self.patches(clip)
        b, t, *_, d = patches.shape
        if self.cls is None:
            cls = patches.new_zeros(b, 0, d)
        else:
            cls = self.cls.expand(b, t if self.config.scheme.cls_per_frame else 1, -1)
        cls, patches = self.positions(cls, patches)
        for number, block in enumerate(self.blocks):
            if self.fast is not None:
                patches, fast = self.fast(number, patches, fast)
            cls, patches = block(cls, patches, frames)
        if self.over_time is not None:
            patches = self.over_time(patches)
        return cls, patches, fast

    def reset_parameters(self) -> None:
        """Initialise as published: truncated normal 0.02, biases and extra passes zero."""
        initialise(self)

    def renew_readout(self) -> None:
        """Give the model a new pooler, where it has one, and a new head."""
        self.head = make_head(self.config)
        initialise(self.head)
        if self.config.pooler:
            self.pooler = POOLERS[self.config.scheme.pooler](self.config.pooler)
            initialise(self.pooler)

    def _require_fitting(self, clip: Tensor, frames: Tensor | None) -> None:
        if clip.ndim != 5 or clip.shape[2] != self.config.channels:
            raise UsageError(
                f"a clip is (b t c h w) with c = {self.config.channels}; got {tuple(clip.shape)}"
            )
        scheme = self.config.scheme
        scheme.require_divisible(self.config.grid_of(clip.shape[1], *clip.shape[3:]))
        if frames is not None and any(grouping.cls != "global" for grouping in scheme.passes):
            raise UsageError(
                f"{self.config.scheme_name} models take clips of one length only, not marked frames"
            )


def make_head(config: ModelConfig) -> nn.Linear:
    """A new head; it has no rows in a model that was not given its words yet."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Initializing zero-element tensors")
        return nn.Linear(config.features, config.classes)


def initialise(model: nn.Module) -> None:
    """Give a model, or a part of one, new weights: see `TimeSformer.reset_parameters`."""
    for module in model.modules():
        if isinstance(module, nn.Linear) and module.out_features:
            nn.init.trunc_normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, SeparateTables | PositionTable | SmoothTable):
            module.reset_parameters()
        elif isinstance(module, AttentivePooler | HeadsPooler):
            nn.init.trunc_normal_(module.query, std=0.02)
        elif isinstance(module, TextTower):
            nn.init.trunc_normal_(module.end, std=0.02)
        elif isinstance(module, nn.Embedding):
            nn.init.trunc_normal_(module.weight, std=0.02)
        if isinstance(module, TimeSformer | FrameEncoder | FastPath) and module.cls is not None:
            nn.init.trunc_normal_(module.cls, std=0.02)
    # Last, since the loop above fills the maps that must be zero.
    for module in model.modules():
        if isinstance(module, Block | Fusion):
            module.zero_new_passes()
