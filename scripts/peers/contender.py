"""One contender of the model comparison, in a process of its own: scores a batch when told to."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from scripts.peers.products import product_rates
from scripts.peers.runtimes import onnxruntime_on, openvino_on
from timesformer_cli.benchmark import machine
from timesformer_cli.children import die_with, receive, send, take_pipes
from timesformer_cli.config import ModelConfig, Preprocessing
from timesformer_cli.errors import DeviceError
from timesformer_cli.inference.device import find_device, find_dtype
from timesformer_cli.inference.fast.model import make_fast
from timesformer_cli.inference.predictor import Predictor
from timesformer_cli.weights.description import read_description
from timesformer_cli.weights.load import load_model

Frames = npt.NDArray[np.uint8]
Run = Callable[[], Tensor]
Builder = Callable[[Path, str, torch.device, Frames], Run]


def tsf(
    folder: Path, dtype: str, device: torch.device, frames: Frames, *, compile: bool = False
) -> Run:
    """`tsf`, from uint8 frames: their preparation is part of its time."""
    kind = find_dtype(dtype, device)
    model, _ = load_model(str(folder))
    predictor = Predictor(make_fast(model, device, kind, consume=True, compile=compile))
    return lambda: predictor.start(frames)().scores


def transformers(
    folder: Path, dtype: str, device: torch.device, frames: Frames, *, compile: bool = False
) -> Run:
    """The bare model of transformers; its input is normalised beforehand."""
    from transformers import TimesformerForVideoClassification
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    kind = getattr(torch, dtype)
    model = TimesformerForVideoClassification.from_pretrained(folder, dtype=kind).to(device).eval()
    description = read_description(folder)
    assert description.preprocessing is not None
    clip = normalised(frames, description.preprocessing).to(device, kind)
    if compile:
        model.compile()
    return lambda: model(pixel_values=clip).logits.float().softmax(dim=-1).cpu()


def frame_vit(folder: Path, dtype: str, device: torch.device, frames: Frames) -> Run:
    """timm's ViT of the same width and depth, a frame at a time: what seeing frames alone costs."""
    description = read_description(folder)
    config, kind = description.config, getattr(torch, dtype)
    assert description.preprocessing is not None
    model = vit_of(config).to(device, kind).eval()
    pictures = normalised(frames, description.preprocessing).flatten(0, 1).to(device, kind)

    def run() -> Tensor:
        logits: Tensor = model(pictures)
        return logits.float().view(len(frames), config.frames, -1).mean(dim=1).softmax(-1).cpu()

    return run


def lucidrains(folder: Path, dtype: str, device: torch.device, frames: Frames) -> Run:
    """lucidrains' network of the same width and depth, with weights of its own."""
    description = read_description(folder)
    assert description.preprocessing is not None
    kind = getattr(torch, dtype)
    model = relative(description.config).to(device, kind).eval()
    clip = normalised(frames, description.preprocessing).to(device, kind)

    def run() -> Tensor:
        # Its rotary tables stay float32; in bfloat16 it runs under autocast only.
        with torch.autocast(device.type, kind, enabled=kind != torch.float32):
            logits: Tensor = model(clip)
        return logits.float().softmax(dim=-1).cpu()

    return run


def exported(
    folder: Path,
    dtype: str,
    device: torch.device,
    frames: Frames,
    *,
    source: str,
    runtime: Callable[[Path, str, str, torch.device, npt.NDArray[np.float32]], Run],
) -> Run:
    """Another runtime on an export of `tsf` or of transformers."""
    description = read_description(folder)
    assert description.preprocessing is not None
    clip = normalised(frames, description.preprocessing).numpy()
    return runtime(folder, source, dtype, device, clip)


def products(folder: Path, dtype: str, device: torch.device, frames: Frames) -> Run:
    """No model: FLOP per second of the machine's matrix products at the model's shapes."""
    config = read_description(folder).config
    product_rates(config, dtype, device)  # what the device lacks is known before the first turn
    return lambda: torch.tensor(product_rates(config, dtype, device))


CONTENDERS: dict[str, Builder] = {
    "tsf": tsf,
    "tsf --compile": partial(tsf, compile=True),
    "transformers": transformers,
    "transformers compiled": partial(transformers, compile=True),
    "onnxruntime": partial(exported, source="tsf", runtime=onnxruntime_on),
    "onnxruntime on transformers": partial(exported, source="transformers", runtime=onnxruntime_on),
    "OpenVINO": partial(exported, source="tsf", runtime=openvino_on),
    "timm ViT": frame_vit,
    "timesformer-pytorch": lucidrains,
    "products": products,
}


def vit_of(config: ModelConfig) -> nn.Module:
    """timm's ViT for pictures, of this width and depth."""
    from timm.models.vision_transformer import VisionTransformer

    model: nn.Module = VisionTransformer(
        img_size=(config.height, config.width),
        patch_size=config.patch,
        embed_dim=config.dim,
        depth=config.depth,
        num_heads=config.heads,
        mlp_ratio=config.mlp_dim / config.dim,
        num_classes=config.classes,
    )
    return model


def relative(config: ModelConfig) -> nn.Module:
    """lucidrains' TimeSformer: gated MLP, rotary positions, a class token that sees every frame."""
    from timesformer_pytorch import TimeSformer

    return TimeSformer(
        dim=config.dim,
        depth=config.depth,
        heads=config.heads,
        dim_head=config.dim // config.heads,
        num_frames=config.frames,
        num_classes=config.classes,
        image_size=config.height,
        patch_size=config.patch,
    )


def relative_flops(config: ModelConfig) -> int:
    """Floating-point operations of its products, for one clip, as torch counts them."""
    shape = (1, config.frames, config.channels, config.height, config.width)
    return _counted(relative, config, shape)


def vit_flops(config: ModelConfig) -> int:
    """Likewise of timm's ViT, for all frames of a clip."""
    return _counted(vit_of, config, (config.frames, config.channels, config.height, config.width))


def _counted(
    make: Callable[[ModelConfig], nn.Module], config: ModelConfig, shape: tuple[int, ...]
) -> int:
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        make(config)(torch.empty(shape))
    return int(counter.get_total_flops())


def normalised(frames: Frames, preprocessing: Preprocessing) -> Tensor:
    """Frames, uint8 `(b t h w c)`, as models of the family take them: float `(b t c h w)`."""
    clip = torch.from_numpy(frames).movedim(-1, 2) / 255
    mean, std = (
        torch.tensor(values).view(3, 1, 1) for values in (preprocessing.mean, preprocessing.std)
    )
    return (clip - mean) / std


def made_frames(config: ModelConfig, batch_size: int) -> Frames:
    """Random clips `(b t h w c)`, the same in every process: coloured squares, new each frame."""
    shape = (batch_size, *config.grid, config.channels)
    patches = np.random.default_rng(0).integers(256, size=shape, dtype=np.uint8)
    rows = patches.repeat(config.patch, axis=2)
    return rows.repeat(config.patch, axis=3)


def peak_bytes(device: torch.device) -> int | None:
    """The most bytes that this process has held: of the device on CUDA, else resident."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def main(
    parent: int, contender: str, dtype: str, folder: str, device_name: str, batch_size: str
) -> None:
    """Send one message when ready, then answer each request with one run."""
    requests, replies = take_pipes()
    die_with(parent)
    device = find_device(device_name)
    frames = made_frames(read_description(Path(folder)).config, int(batch_size))
    try:
        run = CONTENDERS[contender](Path(folder), dtype, device, frames)
    except (ImportError, DeviceError) as error:
        send(replies, {"missing": str(error)})
        return
    send(replies, {})
    while True:
        try:
            receive(requests)
        except EOFError:
            return
        began = time.perf_counter()
        with torch.inference_mode():
            answer = run()
        machine.settle(device)
        seconds = time.perf_counter() - began
        about = {"seconds": seconds, "answer": answer.tolist(), "peak_bytes": peak_bytes(device)}
        send(replies, about)
