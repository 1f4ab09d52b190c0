"""Models small enough to run in milliseconds."""

import torch

from timesformer_cli.config import ModelConfig
from timesformer_cli.model import TimeSformer
from timesformer_cli.typed.schemes import canonical_scheme, find_scheme


def tiny(**changes: object) -> ModelConfig:
    """A configuration small enough to run in milliseconds."""
    small = {"dim": 64, "depth": 2, "heads": 1, "mlp_dim": 96, "height": 64, "width": 64}
    passes = find_scheme(str(changes.get("attention", "divided"))).passes
    small["heads"] = max(len(grouping.parts) for grouping in passes)  # some share their heads out
    return ModelConfig(**{**small, "classes": 5, **changes})  # type: ignore[arg-type]


def randomised(config: ModelConfig, seed: int = 0) -> TimeSformer:
    """A model in evaluation mode whose every parameter matters (none is zero)."""
    model = TimeSformer(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.1, generator=generator)
    return model.eval()


# Schemes that a user might type, among them one with each fact that a pass can have.
TYPED = {
    "late-time": "t h w -> (t) (h w); t h w -> (h w) (t) cls=absent; name=late-time",
    "diagonal": "t h w -> (h w) (t) cls=absent diagonal=1,1; t h w -> (t) (h w); name=diagonal",
    "strided": "(t s) (h i) (w j) -> (s i j) (t h w) s=2 i=2 j=2; name=strided",
    "boxes": "t h w -> () (t h w) window=3,3,* cls=absent; name=boxes; "
    "t h w -> () (t h w) window=3,3,* shift=1,1,0 reach=2,2,* cls=absent",
    "halves": "t h w -> (t) (h w) cls=absent beside t h w -> (h w) (t) cls=absent reach=1,*,*; "
    "name=halves",
    "by-frame": "t h w -> (t) (h w) cls=own stride=2; t h w -> (h w) (t) cls=absent; name=by-frame",
    "everywhere": "t h w -> (h w) (t) cls=global; t h w -> (t) (h w) shift=0,1,1; name=everywhere "
    "tubelet=2 positions=table",
}
TYPED = {name: canonical_scheme(definition) for name, definition in TYPED.items()}
