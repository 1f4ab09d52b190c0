"""A whole model in its fast form, and how to make one from a model as published."""

import warnings

import torch
from torch import Tensor, nn

from timesformer_cli.errors import UsageError
from timesformer_cli.inference.device import find_dtype, memory_explained
from timesformer_cli.inference.fast.blocks import FastEncoder, LayerFactory
from timesformer_cli.inference.fast.kernels import find_capped, find_mix, in_dtype
from timesformer_cli.inference.fast.linear import PlainLinear, find_linear
from timesformer_cli.inference.fast.patches import FROM_PIXELS, PixelPatches
from timesformer_cli.inference.fast.pathways import FastPathway
from timesformer_cli.inference.fast.pooler import FastPooler
from timesformer_cli.inference.process_tuning import keep_freed_memory
from timesformer_cli.model import TimeSformer
from timesformer_cli.model.encoders import FrameEncoder, TimeEncoder
from timesformer_cli.model.network import read_out
from timesformer_cli.model.text import TextTower, unit


class FastModel(nn.Module):
    """Gives a model's logits, float32 `(b classes)`, with less work; for inference only.

    Takes pixels, uint8 RGB `(b t h w c)`, or normalised clips, float `(b t c h w)`. It has the
    model's `.config`, `.labels`, `.preprocessing` and `.sampling`, and copies of its weights.
    """

    @torch.no_grad()
    def __init__(
        self, model: TimeSformer, make: LayerFactory | None = None, *, consume: bool = False
    ) -> None:
        """With `consume` each block of the model is dropped once copied; the model is then spoilt.

        Memory so never holds two sets of weights.
        """
        super().__init__()
        make = make or LayerFactory()
        self.config, self.labels = model.config, model.labels
        self.preprocessing, self.sampling = model.preprocessing, model.sampling
        self.dtype = make.precision or make.dtype  # int8 where the linear maps are rounded
        from_pixels = FROM_PIXELS[type(model.patches)]
        self.patches = from_pixels(model.patches, model.preprocessing, make.dtype, make.map)
        encoders: list[TimeSformer | FrameEncoder | TimeEncoder] = [model]
        encoders += [] if model.over_frames is None else [model.over_frames]
        encoders += [] if model.over_time is None else [model.over_time]
        self.between = None if model.over_time is None else make.copy(model.over_time.norm)
        self.encoders = nn.ModuleList(
            FastEncoder(encoder, make, consume=consume, pooled=model.pooler is not None)
            for encoder in encoders
        )
        self.fast = None
        if model.fast is not None:
            self.fast = FastPathway(model.fast, model.preprocessing, make, consume=consume)
        self.pooler = None
        if model.pooler is not None:
            self.pooler = FastPooler(model.pooler, make, consume=consume)
        self.norm, self.head = make.copy(model.norm), make.copy(model.head)
        # Beside the modules, so that the tower keeps its dtype and its device.
        self._text: tuple[TextTower | None] = (model.text,)
        self.tokenizer = model.tokenizer
        self.eval().requires_grad_(False)

    @property
    def device(self) -> torch.device:
        """The device of its weights."""
        # Asked of the norm, because linear maps may keep their weights out of the parameters.
        device: torch.device = next(self.norm.parameters()).device
        return device

    @property
    def text(self) -> TextTower | None:
        """The text tower of a model that takes words, as it was published."""
        return self._text[0]

    def forget_text(self) -> None:
        """Free the text tower: no more words will come."""
        self._text = (None,)

    def forward(self, clip: Tensor) -> Tensor:
        return self.logits(self.features(clip))

    def features(self, clip: Tensor) -> Tensor:
        """The input of the head, `(b d)`, in the model's dtype."""
        if self.fast is None:
            return self.over_time(self.per_frame(clip))
        tokens, fast = self.fast(self.encoders[0], self.patches(clip), clip)
        return torch.cat([read_out(tokens, self.norm, self.config), fast], dim=-1)

    @property
    def frames_start_alone(self) -> bool:
        """Whether no frame is mixed with another one before its patches are made."""
        return self.fast is None and isinstance(self.patches, PixelPatches)

    def per_frame(self, clip: Tensor) -> Tensor:
        """All that each frame, or tubelet, gives by itself: `(b t h w d)`.

        These are patches. Where patches of different frames never meet in the first transformer, it
        is what that makes of them: one class token per frame, `(b t 1 1 d)`, or patches for the
        second. Where `frames_start_alone`, a frame gives the same in every clip.
        """
        patches: Tensor = self.patches(clip)
        return self._first(patches) if self.config.frames_apart else patches

    def _first(self, patches: Tensor) -> Tensor:
        """What the first transformer makes of patches, for the second one."""
        tokens: Tensor = self.encoders[0](patches)
        if self.between is None:
            return tokens[:, :, None, None]
        normed: Tensor = self.between(tokens)
        return normed.view(patches.shape)

    def over_time(self, units: Tensor) -> Tensor:
        """The input of the head, `(b d)`, from what `per_frame` gives."""
        first, *more = self.encoders
        apart = self.config.frames_apart
        if more:
            tokens = more[0](units if apart else self._first(units))
        else:
            tokens = units[:, :, 0, 0] if apart else first(units)
        if self.pooler is not None:
            t, h, w = units.shape[1:4]
            pooled: Tensor = self.pooler(self.norm(tokens), (t, h, w))
            return unit(pooled) if self.config.unit_features else pooled
        return read_out(tokens, self.norm, self.config)

    def logits(self, features: Tensor) -> Tensor:
        """The head's answer, float32 `(b classes)`; of a model that takes words, the features."""
        logits: Tensor = self.head(features) if self.config.text is None else features
        return logits.float()


def make_fast(
    model: TimeSformer,
    device: torch.device,
    dtype: torch.dtype,
    *,
    consume: bool = False,
    compile: bool = False,
) -> FastModel:
    """The model in its fast form on a device, with the fastest parts known for it.

    `dtype` int8 rounds the linear maps. The rest is then float32, but attention runs in bfloat16
    where the processor multiplies in it. With `compile`, torch.compile compiles the form when it
    first runs, on CUDA with graphs. `consume` spoils the model to save memory. Raises UsageError
    for int8 with `compile`, DeviceError where int8 cannot run or memory is short.
    """
    if compile and dtype == torch.int8:
        raise UsageError("--compile and --dtype int8 exclude each other")
    with memory_explained(device):
        if dtype != torch.int8:
            # The compiler fuses other steps with torch's own map; it cannot see into oneDNN's.
            linear = PlainLinear if compile else find_linear(device, dtype)
            layers = LayerFactory(dtype, linear, find_mix(device, dtype), find_capped(device))
        else:
            inner = find_dtype("auto", device)
            mix = in_dtype(inner, find_mix(device, inner))
            capped = in_dtype(inner, find_capped(device))
            layers = LayerFactory(
                linear=find_linear(device, dtype), mix=mix, capped=capped, precision=dtype
            )
        if device.type == "cpu":
            keep_freed_memory()
        fast = FastModel(model, layers, consume=consume).to(device)
    if compile:
        # The cached function that is meant stands in grouping.py and has no side effects.
        warnings.filterwarnings("ignore", "Dynamo detected a call to a `functools.lru_cache`")
        fast.compile(mode="reduce-overhead" if device.type == "cuda" else None)
    return fast
