"""Image models of timm as video models: each frame is seen alone, and the results are averaged.

A plain ViT is a space-only model, so its tensors load in the official layout as they are.
"""

from dataclasses import replace
from math import floor
from pathlib import Path
from typing import Any

from timesformer_cli.config import Preprocessing, Sampling
from timesformer_cli.errors import WeightsError
from timesformer_cli.weights.assumed import PUBLISHED_SPAN
from timesformer_cli.weights.description import Description
from timesformer_cli.weights.infer_config import infer_config
from timesformer_cli.weights.layout_tables import OFFICIAL
from timesformer_cli.weights.model_folder import Checkpoint
from timesformer_cli.weights.read_model import read_model
from timesformer_cli.weights.weight_files import require_weight_files

FRAMES = 8


def read_vit(name: str, folder: Path) -> Checkpoint:
    """Read a timm ViT from its hub folder; timm tells its heads, crop, mean and std.

    Raises WeightsError for models that are no plain ViT with a class token.
    """
    import timm
    import torch
    from timm.data import ImageNetInfo, infer_imagenet_subset

    if not timm.is_model(name.partition(".")[0]):
        near = ", ".join(timm.list_models(f"*{name.partition('_')[0]}*")[:3])
        raise WeightsError(f"timm has no model '{name}'; it has {near}, ...")
    with torch.device("meta"):
        reference: Any = timm.create_model(name)  # typed as a module, used as a ViT
    blocks: Any = getattr(reference, "blocks", None)
    plain = blocks is not None and type(reference).__name__ == "VisionTransformer"
    if not plain or reference.global_pool != "token" or type(blocks[0].mlp.act).__name__ != "GELU":
        raise WeightsError(f"timm's '{name}' is no plain ViT with a class token; only those load")
    files = require_weight_files(folder)
    read = read_model(files)
    tensors = read.found.tensors
    config, _ = infer_config({key: tuple(t.shape) for key, t in tensors.items()}, OFFICIAL)
    config = replace(
        config,
        heads=blocks[0].attn.num_heads,
        norm_eps=reference.norm.eps,
        frames=FRAMES,
    )
    pretrained = reference.pretrained_cfg
    subset = infer_imagenet_subset(reference)
    labels = tuple(f"LABEL_{index}" for index in range(config.classes))
    if subset is not None:
        names = ImageNetInfo(subset)
        labels = tuple(names.index_to_description(index) for index in range(config.classes))
    stride = PUBLISHED_SPAN // FRAMES
    description = Description(
        config=config,
        labels=labels,
        sampling=Sampling(frames=FRAMES, stride=stride),
        preprocessing=Preprocessing(
            resize=floor(config.height / pretrained["crop_pct"]),
            crop=(config.height, config.width),
            mean=tuple(pretrained["mean"]),
            std=tuple(pretrained["std"]),
        ),
    )
    note = f"{name}: an image model; {FRAMES} frames at a stride of {stride} are averaged"
    return Checkpoint(
        file=files[0],
        called=name,
        description=description,
        notes=(note,),
        tensors=tensors,
        finite=read.finite,
        layout=OFFICIAL,
    )
