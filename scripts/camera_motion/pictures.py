"""Pictures for the camera-motion model: from Python and Debian packages, or drawn from a seed.

Pictures go in by package, near duplicates are dropped, and each picture is put into a split by its
name and content alone, so that other pictures make no difference to it.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]

# Every package below is in Debian main; the licences stand in its /usr/share/doc/*/copyright.
PACKAGES = (
    "gnome-backgrounds",
    "mate-backgrounds",
    "lomiri-wallpapers-16.04",
    "lomiri-wallpapers-20.04",
    "plasma-workspace-wallpapers",
    "ukui-wallpapers",
    "gcompris-qt-data",
    "supertuxkart-data",
)
WHEELS = (("skimage", "data"), ("sklearn", "datasets/images"))
# Held out by name: the example clips are made from these, and the model never sees them.
EXAMPLES = (
    "astronaut",
    "chelsea",
    "coffee",
    "rocket",
    "hubble_deep_field",
    "china",
    "picosdeeuropa",
)
HELD_OUT_SHARE = 0.12
LONGEST = 640  # pixels of the longer side
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
# Not photographs of anything: surface normals, masks, light maps, icons, letters.
UNWANTED = re.compile(
    r"_nm|normal|gloss|_ibl|lightmap|mask|alpha|icon|font|/doc/|chessboard|logo|multipage", re.I
)
# How WebP and JPEG files begin.
EMBEDDED = re.compile(rb"RIFF....WEBP|\xff\xd8\xff[\xe0\xe1\xdb]", re.S)


def fetch_packages(cache: Path) -> None:
    """Download and unpack the Debian packages that `cache` lacks, without installing them."""
    missing = [name for name in PACKAGES if not (cache / name).is_dir()]
    if not missing:
        return
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        raise SystemExit(
            f"apt-get and dpkg are needed to fetch {', '.join(missing)}. Elsewhere: download these "
            f"packages from https://packages.debian.org, unpack each (ar x NAME.deb; tar xf "
            f"data.tar.*) into {cache}/NAME, and run this again."
        )
    cache.mkdir(parents=True, exist_ok=True)
    for name in missing:
        subprocess.run(["apt-get", "download", name], cwd=cache, check=True)
        package = next(cache.glob(f"{name}_*.deb"))
        unpacking = cache / f"{name}.part"
        subprocess.run(["dpkg", "-x", package, unpacking], check=True)
        unpacking.rename(cache / name)
        package.unlink()


def shrink(picture: Picture) -> Picture:
    """Scale a picture down so that its longer side has at most LONGEST pixels."""
    scale = LONGEST / max(picture.shape[:2])
    if scale >= 1:
        return picture
    return cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def decode(data: bytes) -> Picture | None:
    """Decode one encoded image to RGB; None where it is broken or too small."""
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if picture is None or min(picture.shape[:2]) < 240:
        return None
    return shrink(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))


def packed(archive: Path) -> Iterator[tuple[str, Picture]]:
    """Yield the images stored inside a Qt resource file, which keeps them byte for byte."""
    data = archive.read_bytes()
    for found in EMBEDDED.finditer(data):
        picture = decode(data[found.start() : found.start() + 4_000_000])
        if picture is not None:
            yield f"{archive.stem}-{found.start()}", picture


def sources(cache: Path) -> Iterator[tuple[str, Picture]]:
    """Yield every usable picture with its name, in a fixed order."""
    folders = [cache / name for name in PACKAGES]
    for module, inner in WHEELS:
        spec = find_spec(module)
        if spec is not None and spec.submodule_search_locations:
            folders.append(Path(spec.submodule_search_locations[0]) / inner)
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_symlink() or not path.is_file() or UNWANTED.search(str(path)):
                continue
            if path.suffix == ".rcc":
                yield from packed(path)
            elif path.suffix.lower() in SUFFIXES and path.stat().st_size > 60_000:
                picture = decode(path.read_bytes())
                if picture is not None:
                    yield path.stem, picture


def signature(picture: Picture) -> NDArray[np.float32]:
    """A unit-length thumbnail without its mean: near duplicates have a product near one."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    thumbnail = cv2.resize(grey, (16, 16), interpolation=cv2.INTER_AREA).astype(np.float32).ravel()
    thumbnail -= thumbnail.mean()
    return thumbnail / max(float(np.linalg.norm(thumbnail)), 1e-3)


def has_texture(picture: Picture) -> bool:
    """Whether most of the picture has enough texture to show motion."""
    grey = cv2.resize(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), (192, 192)).astype(np.float32)
    tiles = grey.reshape(12, 16, 12, 16).std(axis=(1, 3))
    return bool((tiles > 4).mean() > 0.5)


def split_of(name: str, picture: Picture) -> str:
    """Choose a picture's split: examples by name, all others by a hash of their content."""
    if any(example in name for example in EXAMPLES):
        return "examples"
    digest = hashlib.sha256(cv2.resize(picture, (16, 16), interpolation=cv2.INTER_AREA).tobytes())
    return "held-out" if digest.digest()[0] < 256 * HELD_OUT_SHARE else "train"


def collect(cache: Path) -> dict[str, list[Picture]]:
    """Gather the pictures by split, without near duplicates; a negative counts as a duplicate."""
    fetch_packages(cache)
    splits: dict[str, list[Picture]] = {"train": [], "held-out": [], "examples": []}
    kept: list[NDArray[np.float32]] = []
    # Of two near duplicates the first stays: an example must not live on in another split.
    examples_first = sorted(sources(cache), key=lambda item: split_of(*item) != "examples")
    for name, picture in examples_first:
        mark = signature(picture)
        if not has_texture(picture) or (kept and np.abs(np.stack(kept) @ mark).max() > 0.85):
            continue
        kept.append(mark)
        splits[split_of(name, picture)].append(picture)
    return splits


def load_pictures(cache: Path) -> dict[str, list[Picture]]:
    """Read the splits from `cache`, preparing them on the first call."""
    store = cache / "pictures.npz"
    if not store.exists():
        flat = {
            f"{split}/{i}": picture
            for split, pictures in collect(cache).items()
            for i, picture in enumerate(pictures)
        }
        np.savez(store, **flat)  # type: ignore[arg-type]
    splits: dict[str, list[Picture]] = {"train": [], "held-out": [], "examples": []}
    with np.load(store) as archive:
        for key in archive.files:
            splits[key.split("/")[0]].append(archive[key])
    return splits


def draw_texture(rng: np.random.Generator, side: int = 448) -> Picture:
    """Draw one texture: octaves of noise, polygons, discs, coloured cells or lines of text."""
    canvas = np.zeros((side, side, 3), np.float32)
    for octave in range(2, 8):
        cells = rng.uniform(-1, 1, (2**octave, 2**octave, 3 if rng.random() < 0.5 else 1))
        grown = cv2.resize(cells.astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
        canvas += grown.reshape(side, side, -1) * 2.0 ** (-octave * rng.uniform(0.3, 0.9))
    low, high = canvas.min(), canvas.max()
    picture = ((canvas - low) / (high - low) * 255).astype(np.uint8)
    kind = rng.integers(6)
    if kind == 1:
        for _ in range(rng.integers(40, 140)):
            corner = rng.uniform(0, side, 2) + rng.normal(0, side / 14, (rng.integers(3, 7), 2))
            cv2.fillPoly(picture, [corner.astype(np.int32)], rng.integers(0, 256, 3).tolist())
    elif kind == 2:
        for _ in range(rng.integers(60, 300)):
            centre, radius = rng.integers(0, side, 2).tolist(), int(rng.integers(2, side // 12))
            cv2.circle(picture, centre, radius, rng.integers(0, 256, 3).tolist(), -1, cv2.LINE_AA)
    elif kind == 3:
        cells = int(rng.integers(12, 40))
        colours = rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
        picture = cv2.resize(colours, (side, side), interpolation=cv2.INTER_NEAREST)
    elif kind == 4:
        for y in range(12, side, int(rng.integers(14, 40))):
            line = "".join(chr(c) for c in rng.integers(33, 126, 60))
            size, ink = rng.uniform(0.4, 1.1), rng.integers(0, 256, 3).tolist()
            cv2.putText(picture, line, (0, y), int(rng.integers(0, 5)), size, ink, 1, cv2.LINE_AA)
    return picture


def textures(seed: int, count: int) -> list[Picture]:
    """Draw `count` textures, the same for the same seed."""
    return [draw_texture(np.random.default_rng([seed, i])) for i in range(count)]


def bars(seed: int, count: int, side: int = 448) -> list[Picture]:
    """Draw pictures of coloured bars, upright or lying, the same for the same seed."""
    drawn = []
    for number in range(count):
        rng = np.random.default_rng([seed, number, 1])
        row = rng.integers(0, 256, (1, int(rng.integers(4, 24)), 3), dtype=np.uint8)
        picture = cv2.resize(row, (side, side), interpolation=cv2.INTER_NEAREST)
        drawn.append(np.ascontiguousarray(picture.transpose(1, 0, 2)) if number % 2 else picture)
    return drawn
