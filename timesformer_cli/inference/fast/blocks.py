"""The parts of a fast model: those of a model, working on joined tokens."""

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from timesformer_cli.grouping import Grid
from timesformer_cli.inference.fast.kernels import CappedMix
from timesformer_cli.inference.fast.linear import MakeLinear, PackedLinear, PlainLinear
from timesformer_cli.inference.process_tuning import return_freed_memory
from timesformer_cli.model import TimeSformer
from timesformer_cli.model.attention import capped_attention
from timesformer_cli.model.block import AttentionPass, Block, shift_tokens
from timesformer_cli.model.encoders import FastPath, FrameEncoder, TimeEncoder
from timesformer_cli.model.positions import NoPositions, Sinusoids
from timesformer_cli.model.routing import ClassRoute, Mix

# Letters are those of model/. Joined tokens are `(b n d)`: the class tokens, then the patches in
# order. So a linear map over all tokens is one matrix product.


@dataclass(frozen=True, slots=True)
class LayerFactory:
    """Makes the layers of a fast model, in one dtype and for one device."""

    dtype: torch.dtype = torch.float32
    linear: MakeLinear = PlainLinear
    mix: Mix = F.scaled_dot_product_attention  # the attention kernel
    capped: CappedMix = capped_attention  # the same where logits are capped
    precision: torch.dtype | None = None  # of the linear maps; None means that of the rest

    def attention(self, softcap: float) -> Mix:
        """The kernel for a pass whose logits have this cap, 0 for none."""
        return partial(self.capped, cap=softcap) if softcap else self.mix

    def copy(self, module: nn.Module) -> nn.Module:
        """A copy of the module in the factory's dtype."""
        return deepcopy(module).to(self.dtype)

    def map(self, weight: Tensor, bias: Tensor | None, *, gelu: bool = False) -> nn.Module:
        """A linear map with copies of these weights, and a GELU after it where asked."""
        if bias is not None:
            bias = bias.to(self.dtype, copy=True)
        copy = self.linear is not PackedLinear  # which lays out a copy of its own
        return self.linear(weight.to(self.dtype, copy=copy), bias, gelu=gelu)


class FastEncoder(nn.Module):
    """Class tokens, positions and blocks, on joined tokens."""

    cls: Tensor | None

    def __init__(
        self,
        source: TimeSformer | FrameEncoder | FastPath | TimeEncoder,
        make: LayerFactory,
        *,
        consume: bool,
        pooled: bool = False,
    ) -> None:
        super().__init__()
        self.pooled = pooled  # whether its patches are read, be there class tokens or not
        cls = None if source.cls is None else source.cls.to(make.dtype, copy=True)
        self.register_buffer("cls", cls)
        self.cls_per_frame = source.config.scheme.cls_per_frame
        self.positions = make.copy(source.positions)
        if isinstance(self.positions, Sinusoids):
            self.positions.keep()  # computed once, not per clip
        self.blocks = nn.ModuleList()
        for index in range(len(source.blocks)):
            block = cast(Block, source.blocks[index])
            last = index + 1 == len(source.blocks) and not pooled
            self.blocks.append(FastBlock(block, make, last=last, consume=consume))
            if consume:  # the source's block is freed before the next one is copied
                source.blocks[index] = nn.Identity()
                return_freed_memory()

    def forward(self, patches: Tensor) -> Tensor:
        """From patches `(b t h w d)` to the tokens that are read: see `read`."""
        tokens, grid = self.start(patches)
        for block in self.blocks:
            tokens = block(tokens, grid)
        return self.read(tokens, grid)

    def start(self, patches: Tensor) -> tuple[Tensor, Grid]:
        """The tokens `(b n d)` before the first block, and the grid of their patches."""
        b, t, h, w, d = patches.shape
        classes = self._classes((t, h, w))
        cls = patches.new_zeros(b, 0, d) if self.cls is None else self.cls.expand(b, classes, -1)
        tokens = join_tokens(*self.positions(cls, patches))
        if self.cls is None and isinstance(self.positions, NoPositions):
            tokens = tokens.clone()  # still the caller's, and blocks change theirs
        return tokens, (t, h, w)

    def read(self, tokens: Tensor, grid: Grid) -> Tensor:
        """The class tokens after the last block, `(b c d)`; without any, or for a pooler, the patches."""
        classes = self._classes(grid)
        if self.pooled:
            return tokens[:, classes:]
        return tokens[:, :classes] if classes else tokens

    def _classes(self, grid: Grid) -> int:
        return 0 if self.cls is None else grid[0] if self.cls_per_frame else 1


class FastPass(nn.Module):
    """`AttentionPass` with its residual, on joined tokens, which it changes in place."""

    def __init__(self, source: AttentionPass, make: LayerFactory) -> None:
        super().__init__()
        qkv, proj, fc = source.attention.qkv, source.attention.proj, source.fc
        self.norm = Normed(source.norm, source.token_shift, make)
        self.qkv = make.map(qkv.weight, qkv.bias)
        if fc is None:
            self.proj = make.map(proj.weight, proj.bias)
        else:
            # The extra map follows the projection with nothing between: their product is one map.
            weight, bias = fc.weight.float(), fc.bias.float()
            self.proj = make.map(weight @ proj.weight.float(), weight @ proj.bias.float() + bias)
        self.route = source.attention.route
        self.mix = make.attention(source.attention.softcap)

    def forward(self, tokens: Tensor, grid: Grid) -> Tensor:
        absent = self.route.grouping.cls == "absent"
        aside = tokens.shape[1] - prod(grid) if absent else 0
        rest = own = tokens
        if aside:
            rest, own = tokens.split_with_sizes([aside, tokens.shape[1] - aside], dim=1)
        maps = self.qkv(self.norm(own, grid)).chunk(3, dim=-1)
        q, k, v = (self.route.gather(*split_tokens(part, grid)) for part in maps)
        mixed = self.route.attend(q, k, v, grid, self.mix)
        update = self.proj(join_tokens(*self.route.scatter(mixed, grid)))
        if aside and torch.compiler.is_exporting():  # a graph has no place to change
            return torch.cat([rest, own + update], dim=1)
        own.add_(update)
        return tokens


class ClassPass(nn.Module):
    """The last pass of a model that only reads its class tokens, with its residual.

    Every token gives keys and values. Only the class tokens `(b c d)` give queries and get results.
    """

    def __init__(self, source: AttentionPass, make: LayerFactory) -> None:
        super().__init__()
        qkv, proj = source.attention.qkv, source.attention.proj
        dim = qkv.in_features
        q_bias, kv_bias = (None, None) if qkv.bias is None else (qkv.bias[:dim], qkv.bias[dim:])
        self.norm = Normed(source.norm, source.token_shift, make)
        self.q = make.map(qkv.weight[:dim], q_bias)
        self.kv = make.map(qkv.weight[dim:], kv_bias)
        self.proj = make.map(proj.weight, proj.bias)
        self.route = cast(ClassRoute, source.attention.route)
        self.mix = make.attention(source.attention.softcap)

    def forward(self, tokens: Tensor, grid: Grid) -> Tensor:
        normed = self.norm(tokens, grid)
        maps = self.kv(normed).chunk(2, dim=-1)
        k, v = (self.route.gather(*split_tokens(part, grid)) for part in maps)
        q = self.q(split_tokens(normed, grid)[0])
        update = self.proj(self.route.attend_class(q, k, v, grid, self.mix))
        updated: Tensor = split_tokens(tokens, grid)[0] + update
        return updated


class FastBlock(nn.Module):
    """`Block` on joined tokens."""

    def __init__(self, source: Block, make: LayerFactory, *, last: bool, consume: bool) -> None:
        super().__init__()
        *passes, final = cast(Iterable[AttentionPass], source.passes)
        # After the last block only class tokens are read, where the pass has any.
        only_classes = last and final.attention.grouping.cls != "absent"
        self.passes = nn.ModuleList(FastPass(attend, make) for attend in passes)
        self.passes.append((ClassPass if only_classes else FastPass)(final, make))
        self.norm = Normed(source.norm, source.token_shift and not only_classes, make)
        if consume:
            source.passes = nn.ModuleList()
            del passes, final
            return_freed_memory()
        mlp = source.mlp
        exact = isinstance(mlp.activation, nn.GELU) and mlp.activation.approximate == "none"
        self.mlp = nn.Sequential(
            make.map(mlp.fc1.weight, mlp.fc1.bias, gelu=exact),
            nn.Identity() if exact else mlp.activation,
            make.map(mlp.fc2.weight, mlp.fc2.bias),
        )

    def forward(self, tokens: Tensor, grid: Grid) -> Tensor:
        for attend in self.passes:
            tokens = attend(tokens, grid)
        updated: Tensor = tokens + self.mlp(self.norm(tokens, grid))
        return updated


class Normed(nn.Module):
    """A layer norm of joined tokens, and the token shift after it where the model has one."""

    def __init__(self, source: nn.Module, token_shift: bool, make: LayerFactory) -> None:
        super().__init__()
        self.norm, self.token_shift = make.copy(source), token_shift

    def forward(self, tokens: Tensor, grid: Grid) -> Tensor:
        normed: Tensor = self.norm(tokens)
        if not self.token_shift:
            return normed
        cls, patches = split_tokens(normed, grid)
        return join_tokens(cls, shift_tokens(patches))


def split_tokens(tokens: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
    """Class tokens `(b c d)` and patches `(b t h w d)`."""
    classes = tokens.shape[1] - prod(grid)
    cls, patches = tokens.split_with_sizes([classes, prod(grid)], dim=1)
    return cls, patches.unflatten(1, grid)  # type: ignore[no-untyped-call]


def join_tokens(cls: Tensor | None, patches: Tensor) -> Tensor:
    """The inverse of `split_tokens`."""
    flat = patches.flatten(1, 3)
    return flat if cls is None or not cls.shape[1] else torch.cat([cls, flat], dim=1)
