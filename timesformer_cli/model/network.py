"""TimeSformer (arXiv 2102.05095), any attention scheme, any clip shape."""

import torch
from torch import Tensor, nn

from timesformer_cli.config import ModelConfig, Preprocessing, Sampling
from timesformer_cli.errors import UsageError
from timesformer_cli.model.block import AttentionPass, Block
from timesformer_cli.model.patches import EMBEDDINGS
from timesformer_cli.model.positions import Positions


class TimeSformer(nn.Module):
    """Maps normalised RGB clips, float `(b t c h w)`, to logits `(b classes)`.

    Any frame count and picture size that the patches divide will do; position tables are resized.
    Carries what using it takes: `config`, `labels`, `preprocessing` and `sampling`.
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
            short_side=min(config.height, config.width), crop=(config.height, config.width)
        )
        self.sampling = sampling or Sampling(frames=config.frames, stride=None)
        self.patches = EMBEDDINGS[config.embedding](config)
        self.cls = nn.Parameter(torch.empty(1, 1, config.dim))
        self.positions = Positions(config)
        rates = torch.linspace(0, config.drop_path, config.depth, device="cpu").tolist()
        self.blocks = nn.ModuleList(Block(config, rate) for rate in rates)
        self.norm = nn.LayerNorm(config.dim, eps=config.norm_eps)
        self.head = nn.Linear(config.dim, config.classes)
        self.reset_parameters()

    def forward(self, clip: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(clip))
        return logits

    def features(self, clip: Tensor) -> Tensor:
        """What the head sees: the class token `(b d)`, averaged where each frame has its own."""
        self._check(clip)
        return self.encode(self.patches(clip))

    def encode(self, patches: Tensor) -> Tensor:
        """Embedded patches `(b t h w d)`, their places not yet added, to features `(b d)`."""
        b, t, *_ = patches.shape
        cls = self.cls.expand(b, t if self.config.scheme.cls_per_frame else 1, -1)
        cls, patches = self.positions(cls, patches)
        for block in self.blocks:
            cls, patches = block(cls, patches)
        features: Tensor = self.norm(cls.mean(dim=1))
        return features

    def reset_parameters(self) -> None:
        """Initialise as published: truncated normal 0.02, biases and every extra map zero."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for module in self.modules():
            if isinstance(module, AttentionPass) and module.fc is not None:
                nn.init.zeros_(module.fc.weight)
        for table in (self.cls, self.positions.space):
            nn.init.trunc_normal_(table, std=0.02)
        if self.positions.time is not None:
            nn.init.zeros_(self.positions.time)

    def _check(self, clip: Tensor) -> None:
        if clip.ndim != 5 or clip.shape[2] != self.config.channels:
            raise UsageError(
                f"a clip is (b t c h w) with c = {self.config.channels}; got {tuple(clip.shape)}"
            )
        self.config.scheme.check(self.config.grid_of(clip.shape[1], *clip.shape[3:]))
