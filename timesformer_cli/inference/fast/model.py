"""The form in which a model runs: the same function of the same weights, with less work."""

import torch
from torch import Tensor, nn

from timesformer_cli.inference.fast.blocks import FormEncoder, Make
from timesformer_cli.inference.fast.patches import FROM_PIXELS
from timesformer_cli.inference.fast.pathways import FormFastPath
from timesformer_cli.model import TimeSformer
from timesformer_cli.model.encoders import FrameEncoder

__all__ = ["InferenceForm", "Make"]


class InferenceForm(nn.Module):
    """Maps pixels, uint8 RGB `(b t h w c)`, or normalised clips, float `(b t c h w)`, to the
    model's logits, float32 `(b classes)`. Carries what the model carries; its weights are copies.

    The training form stays as published. Here the extra maps are part of the projections before
    them, mean and std part of the patch embedding; a class token's q, k and v are computed once
    for all its groups, and in the last pass nothing is computed that no class token needs.
    """

    @torch.no_grad()
    def __init__(
        self, model: TimeSformer, make: Make | None = None, *, consume: bool = False
    ) -> None:
        """With `consume` the model's blocks go as they are copied, so that memory holds one set."""
        super().__init__()
        make = make or Make()
        self.config, self.labels = model.config, model.labels
        self.preprocessing, self.sampling = model.preprocessing, model.sampling
        self.dtype = make.precision or make.dtype
        from_pixels = FROM_PIXELS[type(model.patches)]
        self.patches = from_pixels(model.patches, model.preprocessing, make.dtype, make.map)
        encoders: list[TimeSformer | FrameEncoder] = [model]
        encoders += [] if model.over_frames is None else [model.over_frames]
        self.encoders = nn.ModuleList(
            FormEncoder(encoder, make, consume=consume) for encoder in encoders
        )
        self.fast = None
        if model.fast is not None:
            self.fast = FormFastPath(model.fast, model.preprocessing, make, consume=consume)
        self.norm, self.head = make.copy(model.norm), make.copy(model.head)
        self.eval().requires_grad_(False)

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        device: torch.device = next(self.norm.parameters()).device
        return device

    def forward(self, clip: Tensor) -> Tensor:
        first, *more = self.encoders
        patches = self.patches(clip)
        if self.fast is None:
            tokens = first(patches)
            for encoder in more:
                tokens = encoder(tokens[:, :, None, None])
            features = self.norm(tokens.mean(dim=1))
        else:
            tokens, fast = self.fast(first, patches, clip)
            features = torch.cat([self.norm(tokens.mean(dim=1)), fast], dim=-1)
        logits: Tensor = self.head(features)
        return logits.float()
