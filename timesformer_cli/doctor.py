"""What there is on this machine that `tsf` needs, whether it works, and what to do where not."""

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPException
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter

from timesformer_cli.callbacks import StepCallback
from timesformer_cli.errors import TsfError, VideoError, WeightsError
from timesformer_cli.weights.catalogue import ASSETS

HUB_SECONDS = 10.0  # to wait for the hub
CLIP = ASSETS / "proof.mp4"
LEAST_FREE = 2e9  # bytes; a published model and the download of it


@dataclass(frozen=True, kw_only=True, slots=True)
class InstalledPackage:
    """A Python package: its version, or why it cannot be used."""

    name: str
    version: str | None  # None where it is not installed
    needed: bool
    fault: str | None  # why it cannot be imported
    remedy: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckedDecoder:
    """A decoder that was given the clip that comes with the package."""

    name: str  # as --decoder takes it
    libraries: str | None  # the FFmpeg that it brings, where it says so
    reads: bool
    fault: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundDevice:
    """A device that models can run on."""

    name: str  # as --device takes it
    title: str
    free_bytes: int | None
    dtype: str  # that --dtype auto takes there


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasuredSpeed:
    """Large matrix products on one device."""

    device: str
    dtype: str
    gflops: float | None  # None where it was not measured
    why_not: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckedFolder:
    """A folder where weights are kept."""

    name: str
    path: str
    bytes: int  # of all that is in it
    free_bytes: int | None
    writable: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkup:
    """All that was found. `broken` is what nothing works without."""

    tsf: str
    python: str
    system: str
    processor: str
    processors: int  # that this process may use
    threads: int  # of torch
    instructions: tuple[str, ...]
    packages: tuple[InstalledPackage, ...]
    decoders: tuple[CheckedDecoder, ...]
    devices: tuple[FoundDevice, ...]
    speeds: tuple[MeasuredSpeed, ...]
    folders: tuple[CheckedFolder, ...]
    network: str | None  # None where it was not asked for
    broken: tuple[str, ...]
    advice: tuple[str, ...]


# Module, package to install, whether nothing works without it, and what works with it.
_PACKAGES = (
    ("torch", "torch", True, ""),
    ("torchvision", "torchvision", True, ""),
    ("timm", "timm", True, ""),
    ("einops", "einops", True, ""),
    ("numpy", "numpy", True, ""),
    ("safetensors", "safetensors", True, ""),
    ("huggingface_hub", "huggingface-hub", True, ""),
    ("tokenizers", "tokenizers", True, ""),
    ("typer", "typer", True, ""),
    ("rich", "rich", True, ""),
    ("PIL", "pillow", True, ""),
    ("av", "av", False, "the decoder that is tried first"),
    ("decord", "decord", False, "a second decoder"),
    ("cv2", "opencv-python", False, "a third decoder"),
    ("torchcodec", "torchcodec", False, "decoding on a GPU"),
    ("onnx", "onnx", False, "tsf export --onnx"),
    ("onnxruntime", "onnxruntime", False, "models that end in .onnx"),
    ("onnxscript", "onnxscript", False, "tsf export --onnx"),
    ("matplotlib", "matplotlib", False, "plots"),
    ("jinja2", "jinja2", False, "answers as pages (.html)"),
    ("pyarrow", "pyarrow", False, "answers as Parquet"),
    ("lance", "pylance", False, "libraries: tsf search"),
    ("tensorboard", "tensorboard", False, "tsf train --log tensorboard"),
    ("trackio", "trackio", False, "tsf train --log trackio"),
    ("wandb", "wandb", False, "tsf train --log wandb"),
    ("ray", "ray[data]", False, "--engine ray"),
    ("starlette", "starlette", False, "tsf serve"),
    ("uvicorn", "uvicorn", False, "tsf serve"),
    ("multipart", "multipart", False, "tsf serve"),
    ("prometheus_client", "prometheus-client", False, "tsf serve"),
    ("opentimelineio", "opentimelineio", False, "tsf timeline --format otio"),
)


def check_up(tsf: str, *, network: bool = False, watch: StepCallback | None = None) -> Checkup:
    """Look at everything; `tsf` is the version of this package.

    It takes a few seconds, most of them for the matrix products. `watch` hears of each step. The
    hub is asked only with `network`.
    """
    steps = 5 + network

    def step(done: int, doing: str) -> None:
        if watch is not None:
            watch(done, steps, doing)

    step(0, "importing packages")
    packages = tuple(_look_at(*row) for row in _PACKAGES)
    broken = [
        f"{package.name}: {package.fault}; {package.remedy}"
        for package in packages
        if package.needed and package.fault
    ]
    step(1, "decoding a clip")
    decoders = tuple(_decode(broken))
    if not any(decoder.reads for decoder in decoders):
        broken.append("no decoder reads a video: pip install av")
    devices: tuple[FoundDevice, ...] = ()
    speeds: tuple[MeasuredSpeed, ...] = ()
    instructions: tuple[str, ...] = ()
    threads, busy = 0, None
    processor = platform.processor() or platform.machine()
    if not broken:
        import torch

        from timesformer_cli.benchmark.machine import OtherWork, device_name

        step(2, "looking at devices")
        devices = tuple(_devices())
        instructions = tuple(_instructions())
        threads, processor = torch.get_num_threads(), device_name(torch.device("cpu"))
        step(3, "multiplying matrices")
        others = OtherWork()
        speeds = tuple(_speeds([device.name for device in devices]))
        busy = others.share()
    step(4, "looking at folders")
    folders = tuple(_folders())
    if devices:  # last, so that the folders are as they were found
        _keep_rate(devices[0], speeds, busy)
    answer = None
    if network:
        step(5, "asking the hub")
        answer = _ask_hub()
    advice = [
        f"pip install {package.name}: {use}"
        for package, (_, _, needed, use) in zip(packages, _PACKAGES, strict=True)
        if package.fault and not needed
    ]
    advice += [
        f"{folder.path}: no more than {folder.free_bytes / 1e9:.1f} GB free for weights"
        for folder in folders
        if folder.free_bytes is not None and folder.free_bytes < LEAST_FREE
    ]
    advice += [
        f"{folder.path}: cannot be written to; {folder.name} names another place"
        for folder in folders
        if not folder.writable
    ]
    return Checkup(
        tsf=tsf,
        python=platform.python_version(),
        system=platform.platform(),
        processor=processor,
        processors=_processors(),
        threads=threads,
        instructions=instructions,
        packages=packages,
        decoders=decoders,
        devices=devices,
        speeds=speeds,
        folders=folders,
        network=answer,
        broken=tuple(broken),
        advice=tuple(advice),
    )


def _look_at(module: str, package: str, needed: bool, use: str) -> InstalledPackage:
    try:
        found = version(package)
    except PackageNotFoundError:
        found = None
    fault = None
    try:
        imported = import_module(module)
        found = found or str(getattr(imported, "__version__", "of unknown version"))
    except Exception as error:  # a broken library raises whatever it comes to
        fault = "not installed" if found is None else str(error).strip().split("\n")[0][:200]
    again = "" if found is None else " --force-reinstall"
    remedy = None if fault is None else f"pip install{again} {package}"
    return InstalledPackage(name=package, version=found, needed=needed, fault=fault, remedy=remedy)


def _decode(broken: list[str]) -> Iterator[CheckedDecoder]:
    """Give each decoder the package's own clip, in a process that may crash."""
    from timesformer_cli.config import Preprocessing, Sampling

    try:
        from timesformer_cli.video import DecodePool
    except ImportError as error:
        broken.append(f"videos cannot be decoded: {error}")
        return
    sampling, preprocessing = (
        Sampling(frames=2, stride=2),
        Preprocessing(resize=32, crop=(32, 32)),
    )
    for name, libraries in _LIBRARIES.items():
        fault = None
        try:
            with DecodePool(1, 30.0, name) as pool:
                (outcome,) = pool.decode([str(CLIP)], sampling, preprocessing)
            if isinstance(outcome, VideoError):
                fault = str(outcome).removeprefix(f"{CLIP}: ")
        except TsfError as error:
            fault = str(error)
        brought = None if libraries is None or fault else libraries()
        yield CheckedDecoder(name=name, libraries=brought, reads=fault is None, fault=fault)


def _av_libraries() -> str | None:
    import av

    number = ".".join(map(str, av.library_versions.get("libavcodec", ())))
    told = str(getattr(av, "ffmpeg_version_info", ""))
    return f"FFmpeg {told} (libavcodec {number})" if told else f"libavcodec {number}"


def _opencv_libraries() -> str | None:
    import cv2

    for line in cv2.getBuildInformation().splitlines():
        if "avcodec:" in line:
            number = line.partition("(")[2].rstrip(") ")
            return f"libavcodec {number}" if number else None
    return None


def _torchcodec_libraries() -> str | None:
    import torch
    from torchcodec import ffmpeg_major_version

    where = "on the GPU" if torch.cuda.is_available() else "on the processor"
    return f"{where}, FFmpeg {ffmpeg_major_version} of the system"


_LIBRARIES: dict[str, Callable[[], str | None] | None] = {
    "av": _av_libraries,
    "decord": None,
    "opencv": _opencv_libraries,
    "torchcodec": _torchcodec_libraries,
}


def _devices() -> Iterator[FoundDevice]:
    import torch

    from timesformer_cli.benchmark.machine import device_name, free_bytes
    from timesformer_cli.inference.device import find_dtype

    names = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    names += ["mps"] if torch.backends.mps.is_available() else []
    for name in [*names, "cpu"]:
        device = torch.device(name)
        yield FoundDevice(
            name=name,
            title=device_name(device),
            free_bytes=free_bytes(device),
            dtype=str(find_dtype("auto", device)).removeprefix("torch."),
        )


def _instructions() -> Iterator[str]:
    """What the processor can do that matters for speed."""
    import torch

    from timesformer_cli.inference.device import cpu_has_bfloat16, has_int8_maps

    yield torch.backends.cpu.get_cpu_capability()
    if cpu_has_bfloat16():
        yield "bfloat16"
    if has_int8_maps(torch.device("cpu")):
        yield "int8"


def _speeds(devices: list[str]) -> Iterator[MeasuredSpeed]:
    import torch

    from timesformer_cli.benchmark.machine import product_flops
    from timesformer_cli.inference.device import DTYPES, cpu_has_bfloat16, has_int8_maps

    for name in devices:
        device = torch.device(name)
        reasons = {
            "float32": None,
            "bfloat16": "this processor does not multiply in it"
            if device.type == "cpu" and not cpu_has_bfloat16()
            else None,
            "int8": None if has_int8_maps(device) else "it runs on the CPU with oneDNN only",
        }
        for dtype, why_not in reasons.items():
            rate = None if why_not else product_flops(device, DTYPES[dtype])
            yield MeasuredSpeed(
                device=name,
                dtype=dtype,
                gflops=None if rate is None else round(rate / 1e9, 1),
                why_not=why_not,
            )


def _keep_rate(device: FoundDevice, speeds: tuple[MeasuredSpeed, ...], busy: float | None) -> None:
    """Let `tsf models` have what was measured of the device that --device auto takes."""
    from datetime import date

    from timesformer_cli.benchmark.rate import keep_rate
    from timesformer_cli.cost.rate import MachineRate
    from timesformer_cli.weights.hub.hashed_files import default_cache

    for speed in speeds:
        if (speed.device, speed.dtype) == (device.name, device.dtype) and speed.gflops:
            rate = MachineRate(
                device=device.name,
                title=device.title,
                dtype=device.dtype,
                gflops=speed.gflops,
                measured=date.today().isoformat(),
                busy=busy if device.name == "cpu" else None,
            )
            keep_rate(default_cache(), rate)


def _folders() -> Iterator[CheckedFolder]:
    from timesformer_cli.weights.hub.hashed_files import default_cache

    yield _folder("TSF_CACHE", default_cache())
    try:
        from huggingface_hub import constants
    except ImportError:  # it is among the packages that are needed
        return
    yield _folder("HF_HOME", Path(constants.HF_HUB_CACHE))


def _folder(name: str, path: Path) -> CheckedFolder:
    path = path.expanduser()
    size = sum(
        os.lstat(os.path.join(folder, file)).st_size
        for folder, _, files in os.walk(path)
        for file in files
    )
    there = next((place for place in (path, *path.parents) if place.exists()), None)
    free = None if there is None else shutil.disk_usage(there).free
    writable = there is not None and os.access(there, os.W_OK)
    return CheckedFolder(name=name, path=str(path), bytes=size, free_bytes=free, writable=writable)


def _ask_hub() -> str:
    """How long the hub took to answer, or why it did not."""
    from huggingface_hub import constants

    from timesformer_cli.weights.hub.https import open_url

    began = perf_counter()
    try:
        with open_url(constants.ENDPOINT, {}, HUB_SECONDS):
            return f"{constants.ENDPOINT} answered in {perf_counter() - began:.1f} s"
    except (OSError, HTTPException, ValueError, WeightsError) as error:
        return f"{constants.ENDPOINT} cannot be reached ({error})"


def _processors() -> int:
    if sys.platform != "win32" and hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
