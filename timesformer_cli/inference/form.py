"""The form in which a model runs: the same function of the same weights, with less work."""

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass
from math import prod
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from timesformer_cli.inference.kernels import Mix
from timesformer_cli.inference.linear import MakeLinear, PlainLinear
from timesformer_cli.inference.pixels import FROM_PIXELS
from timesformer_cli.model import TimeSformer
from timesformer_cli.model.attention import Grid, GroupedAttention
from timesformer_cli.model.block import AttentionPass, Block

# Letters are those of model/. Tokens are `(b n d)`: the class tokens, then the patches in order.


@dataclass(frozen=True, slots=True)
class Make:
    """What the parts of a form are made of."""

    dtype: torch.dtype = torch.float32
    linear: MakeLinear = PlainLinear
    mix: Mix = F.scaled_dot_product_attention
    precision: torch.dtype | None = None  # of the linear maps, where it is another

    def copy(self, module: nn.Module) -> nn.Module:
        return deepcopy(module).to(self.dtype)

    def map(self, weight: Tensor, bias: Tensor | None, *, gelu: bool = False) -> nn.Module:
        if bias is not None:
            bias = bias.to(self.dtype, copy=True)
        return self.linear(weight.to(self.dtype, copy=True), bias, gelu=gelu)


class InferenceForm(nn.Module):
    """Maps pixels, uint8 RGB `(b t h w c)`, or normalised clips, float `(b t c h w)`, to the
    model's logits, float32 `(b classes)`. Carries what the model carries; its weights are copies.

    The training form stays as published. Here the extra maps are part of the projections before
    them, mean and std part of the patch embedding; a class token's q, k and v are computed once
    for all its groups, and in the last pass nothing is computed that no class token needs.
    """

    cls: Tensor

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
        self.register_buffer("cls", model.cls.to(make.dtype, copy=True))
        self.positions = make.copy(model.positions)
        self.blocks = nn.ModuleList()
        for index in range(len(model.blocks)):
            block = cast(Block, model.blocks[index])
            self.blocks.append(FormBlock(block, make, last=index + 1 == len(model.blocks)))
            if consume:
                model.blocks[index] = nn.Identity()
        self.norm, self.head = make.copy(model.norm), make.copy(model.head)
        self.eval().requires_grad_(False)

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return self.cls.device

    def forward(self, clip: Tensor) -> Tensor:
        patches = self.patches(clip)
        b, grid = patches.shape[0], patches.shape[1:4]
        classes = grid[0] if self.config.scheme.cls_per_frame else 1
        tokens = _join(*self.positions(self.cls.expand(b, classes, -1), patches))
        for block in self.blocks:
            tokens = block(tokens, grid)
        logits: Tensor = self.head(self.norm(tokens[:, :classes].mean(dim=1)))
        return logits.float()


class FormPass(nn.Module):
    """`AttentionPass` with its residual, on joined tokens, which it changes."""

    def __init__(self, source: AttentionPass, make: Make) -> None:
        super().__init__()
        qkv, proj, fc = source.attention.qkv, source.attention.proj, source.fc
        self.norm = make.copy(source.norm)
        self.qkv = make.map(qkv.weight, qkv.bias)
        if fc is None:
            self.proj = make.map(proj.weight, proj.bias)
        else:
            weight, bias = fc.weight.float(), fc.bias.float()
            self.proj = make.map(weight @ proj.weight.float(), weight @ proj.bias.float() + bias)
        self.attention = _without_maps(source.attention, make.mix)

    def forward(self, tokens: Tensor, grid: Grid) -> Tensor:
        attention = self.attention
        aside = tokens.shape[1] - prod(grid) if attention.grouping.cls == "absent" else 0
        maps = self.qkv(self.norm(tokens[:, aside:])).chunk(3, dim=-1)
        q, k, v = (attention.gather(*_split(part, grid)) for part in maps)
        update = _join(*attention.scatter(attention.attend(q, k, v), grid))
        tokens[:, aside:].add_(self.proj(update))
        return tokens


class ClassPass(nn.Module):
    """The last pass of all, with its residual: keys and values of every token, queries and
    results `(b c d)` of the class tokens alone.
    """

    def __init__(self, source: AttentionPass, make: Make) -> None:
        super().__init__()
        qkv, proj = source.attention.qkv, source.attention.proj
        dim = qkv.in_features
        q_bias, kv_bias = (None, None) if qkv.bias is None else (qkv.bias[:dim], qkv.bias[dim:])
        self.norm = make.copy(source.norm)
        self.q = make.map(qkv.weight[:dim], q_bias)
        self.kv = make.map(qkv.weight[dim:], kv_bias)
        self.proj = make.map(proj.weight, proj.bias)
        self.attention = _without_maps(source.attention, make.mix)

    def forward(self, tokens: Tensor, grid: Grid) -> Tensor:
        attention = self.attention
        normed = self.norm(tokens)
        maps = self.kv(normed).chunk(2, dim=-1)
        k, v = (attention.gather(*_split(part, grid)) for part in maps)
        q = attention.gather_class(self.q(_split(normed, grid)[0]), k.shape[1])
        update = attention.scatter_class(attention.attend(q, k, v)[:, :, 0])
        updated: Tensor = _split(tokens, grid)[0] + self.proj(update)
        return updated


class FormBlock(nn.Module):
    """`Block` on joined tokens."""

    def __init__(self, source: Block, make: Make, *, last: bool) -> None:
        super().__init__()
        *passes, final = cast(Iterable[AttentionPass], source.passes)
        only_classes = last and final.attention.grouping.cls != "absent"
        self.passes = nn.ModuleList(FormPass(attend, make) for attend in passes)
        self.passes.append((ClassPass if only_classes else FormPass)(final, make))
        self.norm = make.copy(source.norm)
        fc1, fc2 = source.mlp.fc1, source.mlp.fc2
        self.mlp = nn.Sequential(
            make.map(fc1.weight, fc1.bias, gelu=True), make.map(fc2.weight, fc2.bias)
        )

    def forward(self, tokens: Tensor, grid: Grid) -> Tensor:
        for attend in self.passes:
            tokens = attend(tokens, grid)
        updated: Tensor = tokens + self.mlp(self.norm(tokens))
        return updated


def _without_maps(source: GroupedAttention, mix: Mix) -> GroupedAttention:
    """Its groups and heads with another kernel."""
    attention = deepcopy(source)
    del attention.qkv, attention.proj
    attention.mix = mix  # type: ignore[method-assign, assignment]
    return attention


def _split(tokens: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
    """Class tokens `(b c d)` and patches `(b t h w d)`."""
    classes = tokens.shape[1] - prod(grid)
    return tokens[:, :classes], tokens[:, classes:].unflatten(1, grid)  # type: ignore[no-untyped-call]


def _join(cls: Tensor | None, patches: Tensor) -> Tensor:
    flat = patches.flatten(1, 3)
    return flat if cls is None else torch.cat([cls, flat], dim=1)
