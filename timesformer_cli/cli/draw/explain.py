"""Draw what a model looked at: an overlay as a film, a contact sheet, a preview for terminals."""

import io
import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from timesformer_cli.cli.stderr import printable, terminated_in_order
from timesformer_cli.errors import UsageError
from timesformer_cli.explain.results import Explained, Map
from timesformer_cli.files import delivering
from timesformer_cli.results import to_json
from timesformer_cli.video.facts import Pixels

Heat = npt.NDArray[np.float32]  # 0 to 1
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

# From dark to bright through violet and orange: bright is more, for every kind of colour vision.
RAMP = np.array(
    [(0, 0, 40), (72, 12, 104), (150, 38, 103), (221, 81, 58), (250, 160, 20), (252, 250, 170)],
    np.float32,
)
FULL = 0.995  # share of the map's patches below the one that is drawn brightest
OPAQUE = 0.8  # of the brightest patch
GREYED = 0.6  # share of its colour that a picture loses under an overlay
DIMMED = 0.35  # brightness of what the model did not see
EDGE = 150  # level of the line around what it saw
SMALLEST = 320  # pixels along the short side of a film
COLUMNS, TILE, GAP, LINE = 8, 200, 8, 20  # of a sheet: frames at most, and pixels
STRIP = 44  # pixels below a film
INK, PALE, DULL = (30, 30, 30), (200, 200, 200), (110, 110, 110)


def overlays(result: Explained, scale: int = 1) -> Pixels:
    """The whole frames with the map over what the model saw, and the rest of them dimmed.

    They are `scale` times as large as the result's pictures.
    """
    pictures = _enlarged(result.pictures, scale).astype(np.float32)
    left, top, wide, high = (side * scale for side in result.seen)
    drawn = pictures * DIMMED
    grey = pictures.mean(-1, keepdims=True)
    pictures += (grey - pictures) * GREYED
    for frame, heat in enumerate(_heat(result)):
        place = np.s_[frame, top : top + high, left : left + wide]
        large = Image.fromarray(heat).resize((wide, high), Image.Resampling.BICUBIC)
        share = np.asarray(large).clip(0, 1)[..., None]
        drawn[place] = (
            pictures[place] + (coloured(share[..., 0]) - pictures[place]) * share * OPAQUE
        )
    # In a dark scene nobody would see where the dimmed part begins.
    edge = np.zeros(drawn.shape[1:3], bool)
    edge[max(0, top - 1) : top + high + 1, max(0, left - 1) : left + wide + 1] = True
    edge[top : top + high, left : left + wide] = False
    drawn[:, edge] = EDGE
    return drawn.round().clip(0, 255).astype(np.uint8)


def _enlarged(pictures: Pixels, scale: int) -> Pixels:
    if scale == 1:
        return pictures
    size = pictures.shape[2] * scale, pictures.shape[1] * scale
    return np.stack(
        [
            np.asarray(Image.fromarray(each).resize(size, Image.Resampling.BICUBIC))
            for each in pictures
        ]
    )


def coloured(heat: Heat) -> Heat:
    """Numbers from 0 to 1 as colours, `(... 3)`."""
    places = np.linspace(0, 1, len(RAMP))
    channels = [np.interp(heat, places, RAMP[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).astype(np.float32)


def _heat(result: Explained) -> Map:
    """The map from 0 to 1, a picture for each frame."""
    most = float(np.quantile(result.map, FULL)) or float(result.map.max()) or 1.0
    heat: Map = (result.map / most).clip(0, 1)
    return heat.repeat(len(result.times) // len(heat), axis=0)


def write_sheet(result: Explained, path: Path) -> None:
    """A PNG: frames above their overlays, with their moments and the share of each in the map."""
    drawn, shares = overlays(result), _shares(result)
    frames = len(drawn)
    chosen = np.unique(np.linspace(0, frames - 1, min(frames, COLUMNS)).round().astype(int))
    high, wide = drawn.shape[1:3]
    size = (TILE, round(TILE * high / wide)) if wide >= high else (round(TILE * wide / high), TILE)
    step = size[0] + GAP
    rows = [GAP + LINE, GAP + LINE + size[1] + GAP]
    sheet = Image.new("RGB", (GAP + step * len(chosen), rows[1] + size[1] + 4 * LINE), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    title = f"{printable(result.label)} {result.score:.1%}   {Path(printable(result.video)).name}"
    pen.text((GAP, GAP // 2), f"{title}   {result.model}, {result.method}", INK, font)
    for column, frame in enumerate(chosen):
        left = GAP + column * step
        for top, picture in zip(rows, (result.pictures[frame], drawn[frame]), strict=True):
            sheet.paste(
                Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS), (left, top)
            )
        below = rows[1] + size[1] + 5
        share = shares[frame]
        pen.text((left, below), f"{result.times[frame]:.2f} s", INK, font)
        pen.text((left + size[0], below), f"{share:.0%}", INK, font, anchor="ra")
        pen.rectangle((left, below + LINE, left + size[0] - 1, below + LINE + 6), PALE)
        filled = round((size[0] - 1) * share / max(shares))
        pen.rectangle((left, below + LINE, left + filled, below + LINE + 6), INK)
    _draw_scale(sheet, pen, font, rows[1] + size[1] + 2 * LINE + 14)
    _deliver(path, lambda part: sheet.save(part, "PNG"))


def _draw_scale(sheet: Image.Image, pen: ImageDraw.ImageDraw, font: Font, top: int) -> None:
    """The colours of the map, from nothing to most."""
    bar = coloured(np.linspace(0, 1, 160, dtype=np.float32))[None].repeat(10, 0)
    pen.text((GAP, top), "nothing", INK, font)
    sheet.paste(Image.fromarray(bar.astype(np.uint8)), (GAP + 56, top + 3))
    pen.text((GAP + 224, top), "most; bars: share of each frame", INK, font)


def _shares(result: Explained) -> list[float]:
    """The share of each frame in the map; the frames of one tubelet share its share."""
    together = len(result.times) // len(result.map)
    of_rows: list[float] = (result.map.sum((1, 2)) / (result.map.sum() or 1)).tolist()
    return [share for share in of_rows for _ in range(together)]


def _film(result: Explained) -> tuple[Pixels, Fraction]:
    """The overlay large enough to look at, and its frames per second: those of the clip.

    Below it stand the label, the moment, and the share of each frame, that of this one bright.
    """
    scale = max(1, -(-SMALLEST // min(result.pictures.shape[1:3])))
    drawn = overlays(result, scale)
    shares, font = _shares(result), ImageFont.load_default(13)
    high, wide = (side - side % 2 for side in drawn.shape[1:3])  # H.264 takes even sides only
    frames = np.zeros((len(drawn), high + STRIP, wide, 3), np.uint8)
    frames[:, :high] = drawn[:, :high, :wide]
    bars = []
    for number, share in enumerate(shares):
        begin, end = (round(at * wide / len(shares)) for at in (number, number + 1))
        tall = max(1, round((STRIP // 2 - 4) * share / (max(shares) or 1)))
        bars.append((begin, STRIP // 2 - 1 - tall, max(begin, end - 2), STRIP // 2 - 2))
    below = Image.new("RGB", (wide, STRIP))
    for bar in bars:
        ImageDraw.Draw(below).rectangle(bar, DULL)
    for number, frame in enumerate(frames):
        strip = below.copy()
        pen = ImageDraw.Draw(strip)
        moment = f"{result.times[number]:.2f} s"
        left = wide - 2 * GAP - pen.textlength(moment, font)
        said = _fitting(f"{printable(result.label)} {result.score:.1%}", left, pen, font)
        pen.text((GAP, STRIP // 2), said, PALE, font)
        pen.text((wide - GAP, STRIP // 2), moment, PALE, font, anchor="ra")
        pen.rectangle(bars[number], "white")
        frame[high:] = np.asarray(strip)
    spent = result.times[-1] - result.times[0]
    rate = Fraction((len(drawn) - 1) / spent if spent > 0 else 4.0).limit_denominator(1000)
    return frames, rate


def _fitting(text: str, wide: float, pen: ImageDraw.ImageDraw, font: Font) -> str:
    """The text, cut where it is wider than so many pixels."""
    if pen.textlength(text, font) <= wide:
        return text
    while text and pen.textlength(text + "\u2026", font) > wide:
        text = text[:-1]
    return text + "\u2026"


def write_gif(result: Explained, path: Path) -> None:
    """The overlay as a GIF that repeats."""
    frames, rate = _film(result)
    first, *rest = map(as_colours, frames)
    each = max(20, round(1000 / rate))  # milliseconds; browsers slow down what is shorter
    _deliver(
        path,
        lambda part: first.save(
            part, "GIF", save_all=True, append_images=rest, duration=each, loop=0
        ),
    )


def as_colours(frame: Pixels) -> Image.Image:
    """A frame in 256 colours, chosen by how far they lie apart.

    The usual choice goes by how common they are, and dulls what is brightest on the map.
    """
    return Image.fromarray(frame).quantize(method=Image.Quantize.MAXCOVERAGE)


def write_mp4(result: Explained, path: Path) -> None:
    """The overlay as an H.264 film, or MPEG-4 where PyAV has no encoder for it."""
    import av

    frames, rate = _film(result)
    codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"

    def write(part: Path) -> None:
        with av.open(str(part), "w", format="mp4") as container:
            stream = container.add_stream(codec, rate)
            assert isinstance(stream, av.VideoStream)
            stream.height, stream.width = frames.shape[1:3]
            stream.pix_fmt = "yuv420p"
            for frame in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
            container.mux(stream.encode())

    _deliver(path, write)


def write_npz(result: Explained, path: Path) -> None:
    """The map, the moments and the crop as arrays, and the rest as JSON, for NumPy."""
    said = to_json(result)
    about = {name: value for name, value in said.items() if name not in ("map", "times", "crop")}
    crop = result.crop
    content = io.BytesIO()
    np.savez_compressed(
        content,
        map=result.map,
        times=np.array(result.times),
        crop=np.array([crop.left, crop.top, crop.width, crop.height]),
        about=json.dumps(about),
    )
    _deliver(path, lambda part: part.write_bytes(content.getvalue()))


WRITERS: dict[str, Callable[[Explained, Path], None]] = {
    "png": write_sheet,
    "gif": write_gif,
    "mp4": write_mp4,
    "npz": write_npz,
}


def _deliver(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file whole or not at all; raises UsageError where it cannot be written."""
    try:
        with terminated_in_order(), delivering(path) as part:
            write(part)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror})") from error
