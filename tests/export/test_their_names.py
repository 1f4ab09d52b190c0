"""What `tsf convert` writes has the names and shapes of the other program, and nothing beside them.

The names stand here as they stand in the other program's own checkpoints. Its classes were run on
such files by hand: see docs/export.md.
"""

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from tests.support.models import randomised, tiny
from timesformer_cli.cli.app import app
from timesformer_cli.weights.load import load_path, save_model

D, CLASSES, FRAMES, DEPTH = 192, 5, 4, 2  # of 64 channels a head, which a bare file lets one count
MLP, PATCHES = 4 * D, (64 // 16) ** 2

Shapes = dict[str, tuple[int, ...]]


def both(name: str, out: int, inner: int) -> Shapes:
    """A map: its weight and its bias."""
    return {f"{name}.weight": (out, inner), f"{name}.bias": (out,)}


def norm(name: str) -> Shapes:
    return {f"{name}.weight": (D,), f"{name}.bias": (D,)}


def official(scheme: str) -> Shapes:
    shapes: Shapes = {
        "cls_token": (1, 1, D),
        "pos_embed": (1, PATCHES + 1, D),
        "patch_embed.proj.weight": (D, 3, 16, 16),
        "patch_embed.proj.bias": (D,),
        **norm("norm"),
        **both("head", CLASSES, D),
    }
    if scheme != "space":
        shapes["time_embed"] = (1, FRAMES, D)
    for number in range(DEPTH):
        at = f"blocks.{number}"
        for kind in ("attn", "temporal_attn") if scheme == "divided" else ("attn",):
            shapes |= both(f"{at}.{kind}.qkv", 3 * D, D) | both(f"{at}.{kind}.proj", D, D)
        if scheme == "divided":
            shapes |= norm(f"{at}.temporal_norm1") | both(f"{at}.temporal_fc", D, D)
        shapes |= norm(f"{at}.norm1") | norm(f"{at}.norm2")
        shapes |= both(f"{at}.mlp.fc1", MLP, D) | both(f"{at}.mlp.fc2", D, MLP)
    return {f"model.{name}": shape for name, shape in shapes.items()}


def mmaction2(scheme: str) -> Shapes:
    shapes: Shapes = {
        "backbone.cls_token": (1, 1, D),
        "backbone.pos_embed": (1, PATCHES + 1, D),
        "backbone.patch_embed.projection.weight": (D, 3, 16, 16),
        "backbone.patch_embed.projection.bias": (D,),
        **norm("backbone.norm"),
        **both("cls_head.fc_cls", CLASSES, D),
    }
    if scheme != "space":
        shapes["backbone.time_embed"] = (1, FRAMES, D)
    divided = scheme == "divided"
    for number in range(DEPTH):
        at = f"backbone.transformer_layers.layers.{number}"
        for place in range(2 if divided else 1):
            attention = f"{at}.attentions.{place}"
            shapes |= {
                f"{attention}.attn.in_proj_weight": (3 * D, D),
                f"{attention}.attn.in_proj_bias": (3 * D,),
            }
            shapes |= both(f"{attention}.attn.out_proj", D, D)
            shapes |= norm(f"{attention}.norm") if divided else {}
        if divided:
            shapes |= both(f"{at}.attentions.0.temporal_fc", D, D) | norm(f"{at}.ffns.0.norm")
        else:
            shapes |= norm(f"{at}.norms.0") | norm(f"{at}.norms.1")
        shapes |= both(f"{at}.ffns.0.layers.0.0", MLP, D) | both(f"{at}.ffns.0.layers.1", D, MLP)
    return shapes


NAMES = {"official": ("model_state", official), "mmaction2": ("state_dict", mmaction2)}


def converted(start: Path, to: str, folder: Path) -> dict[str, torch.Tensor]:
    ran = CliRunner().invoke(app, ["convert", str(start), "--to", to, "-o", str(folder)])
    assert ran.exit_code == 0, ran.stderr
    entry = NAMES[to][0]
    tensors: dict[str, torch.Tensor] = torch.load(folder / "pytorch_model.bin", weights_only=True)[
        entry
    ]
    return tensors


@pytest.mark.parametrize("scheme", ["divided", "joint", "space"])
@pytest.mark.parametrize("to", NAMES)
def test_names_and_shapes_are_theirs_both_ways(to, scheme, tmp_path):
    entry, named = NAMES[to]
    config = tiny(attention=scheme, frames=FRAMES, dim=D, heads=3, mlp_dim=MLP, depth=DEPTH)
    save_model(randomised(config), tmp_path / "start")
    written = converted(tmp_path / "start", to, tmp_path / "there")
    assert {name: tuple(tensor.shape) for name, tensor in written.items()} == named(scheme)
    random = torch.Generator().manual_seed(0)
    theirs = {name: torch.randn(shape, generator=random) for name, shape in named(scheme).items()}
    torch.save({entry: theirs}, tmp_path / "theirs.pth")
    save_model(load_path(tmp_path / "theirs.pth")[0], tmp_path / "read")
    again = converted(tmp_path / "read", to, tmp_path / "back")
    assert all(torch.equal(tensor, again[name]) for name, tensor in theirs.items())
