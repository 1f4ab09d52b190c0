"""What real files do: wrong sizes, wrong times, damage, encryption. Right pictures, or words."""

import io
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from tests.support.clips import barcode, read_barcode, write
from tests.support.videos import decode
from timesformer_cli.config import Preprocessing, Sampling
from timesformer_cli.errors import VideoError
from timesformer_cli.video import Decoded, DecodePool, find_videos, worker_process
from timesformer_cli.video.decoders import indexed, pyav
from timesformer_cli.video.decoders.base import Unordered
from timesformer_cli.video.timing import Clock, PacketTime, measure_timing

DATA = Path(__file__).parents[1] / "data" / "videos"
# An index that can grow: no offset counts from the beginning of the file.
FRAGMENTED = "empty_moov+frag_keyframe+default_base_moof"
EIGHT = Sampling(frames=8, stride=8)
SPREAD = Sampling(frames=8, stride=None)
WHOLE = Preprocessing(resize=120, crop=(120, 160))
SMALL = Preprocessing(resize=128, crop=(128, 128))


def ten_bits(frame: np.ndarray) -> int:
    """The number in the frames of the files in `data`: two rows of five squares in the middle."""
    height, width, _ = frame.shape
    square = min(height, width) / 8
    number = 0
    for bit in range(10):
        y = int(height / 2 + (bit // 5 - 0.5) * square)
        x = int(width / 2 + (bit % 5 - 2) * square)
        number |= int(frame[y - 1 : y + 2, x - 1 : x + 2].mean() > 128) << bit
    return number


def numbers(path: Path, sampling: Sampling = EIGHT, **how: object) -> list[int | None]:
    """The barcodes of a clip that `write` made."""
    return [read_barcode(f) for f in decode(str(path), sampling, WHOLE, crops=0, **how).frames[0]]


@pytest.mark.parametrize(
    ("name", "stride", "expected", "within", "words"),
    [
        ("hevc_damaged.mp4", 8, [93, 101, 108, 116, 123, 131, 138, 146], 1, "is damaged"),
        ("still_tail.mp4", 8, [19] * 8, 0, "gives 1 frame"),
        ("short_claim.webm", 8, [33, 41, 48, 56, 63, 71, 78, 86], 1, "claims 1.0 s, holds 4.8 s"),
        ("short.mpg", 8, [33, 41, 48, 56, 63, 71, 78, 86], 1, ""),
        ("stts_first.mp4", 8, [33, 41, 48, 56, 63, 71, 78, 86], 1, "claims to last 134,218 s"),
        ("anim.webp", 8, [0, 3, 6, 9, 11, 14, 17, 19], 2, ""),
    ],
)
def test_a_file_that_misled_readers_gives_the_right_frames(name, stride, expected, within, words):
    decoded = decode(str(DATA / name), Sampling(frames=8, stride=stride), SMALL)
    found = [ten_bits(frame) for frame in decoded.frames[0]]
    assert np.abs(np.array(found) - expected).max() <= within, found
    assert words in " ".join(decoded.warnings)


@pytest.mark.parametrize(
    "name",
    ["tiny16.mp4", "tiny48.mp4", "e_3x1000.mp4", "m00345_e_interlaced_tff.mp4"],
)
def test_a_file_of_an_odd_size_gives_pictures_of_three_channels(name):
    for decoder in ("auto", "av", "decord", "opencv"):
        try:
            decoded = decode(str(DATA / name), SPREAD, SMALL, decoder=decoder)
        except VideoError:
            assert decoder != "auto"
        else:
            assert decoded.frames.shape == (1, 8, 128, 128, 3)


def test_damage_that_a_decoder_mends_is_said():
    decoded = decode(str(DATA / "c_flip_mdat_light_s2.mp4"), EIGHT, SMALL)
    assert "of its pictures made up in part" in " ".join(decoded.warnings)


def test_a_file_whose_times_are_absurd_gives_moments_that_are_not():
    decoded = decode(str(DATA / "k_decord_SIGABRT_1_65.mp4"), EIGHT, SMALL)
    assert all(0 <= moment < 10 for view in decoded.views for moment in view.times)
    assert "claims 10737418.7 s, holds" in " ".join(decoded.warnings)


@pytest.mark.parametrize("width", [12, 16, 24, 48, 72])
@pytest.mark.parametrize("made", [("libx264", "yuv444p", "mp4"), ("ffv1", "bgr0", "mkv")])
def test_narrow_pictures_are_three_channels_wide_with_every_decoder(made, width, tmp_path):
    codec, pixels, suffix = made
    shades = [np.full((64, width, 3), 10 * i, np.uint8) for i in range(12)]
    path = write(tmp_path / f"a.{suffix}", shades, codec=codec, pix_fmt=pixels, size=(width, 64))
    whole = Preprocessing(resize=min(64, width), crop=(16, min(16, width)))
    for decoder in ("auto", "av", "decord", "opencv"):
        try:
            frames = decode(str(path), SPREAD, whole, crops=0, decoder=decoder).frames[0]
        except VideoError:
            assert decoder != "auto"
            continue
        means = [frame.mean() for frame in frames]
        assert frames.shape[-1] == 3
        assert np.allclose(means, [0, 20, 30, 50, 60, 80, 90, 110], atol=14), (decoder, means)


def test_one_video_of_an_odd_size_does_not_harm_the_others(tmp_path):
    paths = [DATA / "tiny16.mp4", write(tmp_path / "plain.mp4", 20), DATA / "tiny48.mp4"]
    with DecodePool(workers=2) as pool:
        results = list(pool.decode(map(str, paths), SPREAD, SMALL))
    assert [type(result) for result in results] == [Decoded] * 3
    assert {result.frames.shape for result in results} == {(1, 8, 128, 128, 3)}


@pytest.mark.parametrize(
    ("codec", "pixels", "suffix"),
    [("qtrle", "gray", "mov"), ("png", "pal8", "mov"), ("rawvideo", "gray", "avi")],
)
def test_palettes_and_grays_are_not_black(codec, pixels, suffix, tmp_path):
    try:
        path = write(tmp_path / f"a.{suffix}", 20, codec=codec, pix_fmt=pixels)
    except av.error.FFmpegError:
        pytest.skip(f"this FFmpeg does not write {pixels} with {codec}")
    for decoder in ("auto", "decord", "av", "opencv"):
        try:
            frames = decode(str(path), SPREAD, WHOLE, decoder=decoder).frames[0]
        except VideoError:
            assert decoder != "auto"
            continue
        bars = [frame[:80].mean() for frame in frames]
        assert min(bars) > 25 and max(bars) - min(bars) > 5, decoder


# Geometry -----------------------------------------------------------------------------------------


def squares(path: Path, sizes: list[tuple[int, int]], suffix: str) -> Path:
    """A square of 60 pixels in pictures whose size changes on the way: joined streams."""
    parts = []
    for number, (width, height) in enumerate(sizes):
        picture = np.zeros((height, width, 3), np.uint8)
        top, left = (height - 60) // 2, (width - 60) // 2
        picture[top : top + 60, left : left + 60] = 255
        part = path / f"{number}.{suffix}"
        codec = "mpeg2video" if suffix == "mpg" else "libx264"
        write(part, [picture] * 12, size=(width, height), codec=codec, fps=25)
        parts.append(part.read_bytes())
    joined = path / f"joined.{suffix}"
    joined.write_bytes(b"".join(parts))
    return joined


def test_size_belongs_to_a_frame(tmp_path):
    path = squares(tmp_path, [(128, 128), (192, 128), (128, 128)], "ts")
    frames = decode(str(path), SPREAD, SMALL).frames[0]
    assert all(abs(int((frame[64, :, 0] > 128).sum()) - 60) <= 2 for frame in frames)
    for decoder in ("auto", "decord", "opencv"):
        try:
            decoded = decode(str(DATA / "reschange.webm"), EIGHT, SMALL, clips=3, decoder=decoder)
        except VideoError:
            assert decoder != "auto"
            continue
        for frame in decoded.frames.reshape(-1, 128, 128, 3):  # black and white on gray
            wide = int((np.abs(frame[54, :, 0].astype(int) - 96) > 40).sum())
            assert abs(wide - 80) <= 2, decoder


def test_whole_pictures_of_a_video_that_changes_its_size_are_of_one_size(tmp_path):
    path = squares(tmp_path, [(128, 128), (192, 128)], "ts")
    frames = decode(str(path), SPREAD, SMALL, crops=0).frames[0]
    assert frames.shape == (8, 128, 128, 3)
    assert all(abs(int((frame[64, :, 0] > 128).sum()) - 60) <= 2 for frame in frames)


# Time ---------------------------------------------------------------------------------------------


def with_packet_times(path: Path, change, suffix: str = "mp4", frames: int = 40) -> Path:
    """A clip whose packets' pts, dts and duration went through `change(number, packet)`."""
    source = write(path / "source.mp4", frames, fps=25, options={"bf": "0", "g": "10"})
    target = path / f"changed.{suffix}"
    with av.open(str(source)) as inp, av.open(str(target), "w") as out:
        stream = out.add_stream_from_template(inp.streams.video[0])
        number = 0
        for packet in inp.demux(inp.streams.video[0]):
            if packet.dts is None:
                continue
            change(number, packet)
            packet.stream = stream
            out.mux(packet)
            number += 1
    return target


@pytest.mark.parametrize("suffix", ["mp4", "mov"])
def test_the_last_frame_lasts_as_long_as_its_packet_says(suffix, tmp_path):
    def last_stays(number, packet):
        if number == 39:
            packet.duration = int(60 / packet.time_base)

    path = with_packet_times(tmp_path, last_stays, suffix)
    assert numbers(path) == [39] * 8
    assert decode(str(path), EIGHT, WHOLE).probe.duration == pytest.approx(61.56, abs=0.05)


def test_a_truncated_file_is_not_a_long_last_frame(tmp_path):
    path = write(
        tmp_path / "a.mp4", 200, options={"g": "10"}, container_options={"movflags": "faststart"}
    )
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    decoded = decode(str(path), SPREAD, WHOLE)
    assert max(read_barcode(frame) for frame in decoded.frames[0]) > 60
    assert "claims 6.7 s, holds" in " ".join(decoded.warnings)


def test_a_header_that_claims_too_little_is_not_believed(tmp_path):
    """The duration of Matroska (a float behind 0x4489) and of FLV (a double in its metadata)."""
    for suffix, marker, pack in (
        ("mkv", b"\x44\x89\x88", lambda seconds: struct.pack(">d", 1000 * seconds)),
        ("flv", b"\x00\x08duration\x00", lambda seconds: struct.pack(">d", seconds)),
    ):
        codec = "flv1" if suffix == "flv" else "libx264"
        path = write(tmp_path / f"a.{suffix}", 120, codec=codec, fps=25)
        content = path.read_bytes()
        assert content.count(marker) == 1
        place = content.index(marker) + len(marker)
        path.write_bytes(content[:place] + pack(1.0) + content[place + 8 :])
        assert numbers(path) == [33, 41, 48, 56, 63, 71, 78, 86], suffix
        warnings = " ".join(decode(str(path), EIGHT, WHOLE).warnings)
        assert "claims 1.0 s, holds 4.8 s" in warnings


def test_joined_transport_streams_are_read_one_after_another(tmp_path):
    first = write(tmp_path / "a.ts", 60, fps=25)
    joined = tmp_path / "joined.ts"
    joined.write_bytes(first.read_bytes() * 2)
    decoded = decode(str(joined), Sampling(frames=8, stride=None), WHOLE)
    assert decoded.probe.duration == pytest.approx(4.8, abs=0.1)
    found = [read_barcode(frame) for frame in decoded.frames[0]]
    assert np.abs(np.array(found) - [7, 22, 37, 52, 7, 22, 37, 52]).max() <= 2, found
    assert "starts its clock anew" in " ".join(decoded.warnings)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_one_impossible_step_is_one_step_and_not_the_clip(suffix, tmp_path):
    def jumps(number, packet):
        if number >= 20:
            ten_hours = int(36000 / packet.time_base)
            packet.pts, packet.dts = packet.pts + ten_hours, packet.dts + ten_hours

    path = with_packet_times(tmp_path, jumps, suffix)
    decoded = decode(str(path), SPREAD, WHOLE)
    found = [read_barcode(frame) for frame in decoded.frames[0]]
    assert np.abs(np.array(found) - [2, 7, 12, 17, 22, 27, 32, 37]).max() <= 1, found
    assert "is taken for one of 0.04 s" in " ".join(decoded.warnings)


def test_a_picture_that_stands_for_minutes_is_no_impossible_step(tmp_path):
    """A recorded screen: nothing changes for four minutes, in the middle of it."""

    def stands(number, packet):
        if number >= 20:
            minutes = int(240 / packet.time_base)
            packet.pts, packet.dts = packet.pts + minutes, packet.dts + minutes

    path = with_packet_times(tmp_path, stands, "mkv")
    decoded = decode(str(path), EIGHT, WHOLE)
    assert decoded.probe.duration == pytest.approx(241.6, abs=0.1)
    assert {read_barcode(frame) for frame in decoded.frames[0]} == {19}
    assert not any("is taken for" in warning for warning in decoded.warnings)


def packets(*times: float | None) -> list[PacketTime]:
    return [PacketTime(time, time, 0.04) for time in times]


def test_timing_and_clock_agree_on_what_time_it_is():
    steps = [0.0, 0.04, 0.08, 36000.0, 36000.04, 0.0, 0.04, 0.08]
    timing = measure_timing(packets(*steps), stream=False, fps=25)
    assert timing is not None
    assert (timing.restarts, timing.pictures) == (1, 8)
    assert timing.duration == pytest.approx(8 * 0.04)
    clock = Clock(timing.interval, timing.longest, restarts=True)
    moments = [clock(time) for time in steps]
    assert moments == pytest.approx([0.04 * number for number in range(8)])
    assert measure_timing([], stream=False, fps=25) is None
    untimed = measure_timing(packets(*[None] * 50), stream=False, fps=25)
    assert untimed is not None and untimed.duration == 2.0


@pytest.mark.parametrize(
    ("suffix", "codec"), [("avi", "mpeg4"), ("avi", "mjpeg"), ("ts", "libx264"), ("mkv", "libx264")]
)
def test_a_late_frame_found_by_a_seek_is_the_one_found_in_order(
    suffix, codec, tmp_path, monkeypatch
):
    pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    options = {} if codec == "mjpeg" else {"g": "12"}
    path = write(
        tmp_path / f"a.{suffix}", 250, codec=codec, pix_fmt=pixels, fps=10, options=options
    )
    sampling = Sampling(frames=4, stride=15)
    seeks: list[int] = []

    def unknown(*_):
        raise Unordered

    monkeypatch.setattr(indexed, "read_by_index", unknown)  # as for files whose index is not read
    monkeypatch.setattr(pyav, "MARGIN_WITHOUT_INDEX", 3.0)
    monkeypatch.setattr(pyav, "LONG_GAP", 1e9)
    in_order = decode(str(path), sampling, WHOLE, clips=3, decoder="av")
    monkeypatch.setattr(pyav, "LONG_GAP", 4.0)
    real = pyav.open_container

    class Watched:
        def __init__(self, container):
            self.container = container

        def __getattr__(self, name):
            return getattr(self.container, name)

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.container.close()

        def seek(self, *where, **how):
            seeks.append(1)
            return self.container.seek(*where, **how)

    monkeypatch.setattr(pyav, "open_container", lambda *file, **how: Watched(real(*file, **how)))
    sought = decode(str(path), sampling, WHOLE, clips=3, decoder="av")
    assert seeks
    assert np.array_equal(sought.frames, in_order.frames)
    assert [read_barcode(frame) for frame in sought.frames[2]] == [230, 236, 243, 249]


def test_the_time_limit_counts_from_the_last_progress(monkeypatch):
    """A child that moves on for three times the limit is let be; one that stops is not."""
    real = worker_process.ChildProcess

    def started(module, **how):
        return real("tests.support.slow_worker", **how)

    monkeypatch.setattr(worker_process, "ChildProcess", started)
    with DecodePool(timeout=1.5) as pool:
        slow, stuck = pool.decode(["moves on", "stops"], EIGHT, WHOLE)
    assert isinstance(slow, VideoError) and slow.kind == "no_frames" and str(slow) == "after all"
    assert isinstance(stuck, VideoError) and stuck.kind == "timeout"
    assert "made no progress in 1.5 s" in str(stuck)


# What is no ordinary picture ----------------------------------------------------------------------


def test_interlaced_video_is_said_to_be(tmp_path):
    path = write(
        tmp_path / "a.mp4",
        30,
        options={"flags": "+ildct+ilme", "x264-params": "interlaced=1:tff=1"},
    )
    assert any("is interlaced" in warning for warning in decode(str(path), EIGHT, WHOLE).warnings)


@pytest.mark.parametrize("profile", [5, 8])
def test_dolby_vision_without_another_form_is_warned_about(profile, tmp_path):
    """A `dvcC` box of that profile is put into the sample entry of an ordinary file."""
    path = write(tmp_path / "a.mp4", 30, container_options={"movflags": FRAGMENTED})
    content = path.read_bytes()
    box = struct.pack(">I4sBBH20x", 32, b"dvcC", 1, 0, profile << 9 | 6 << 3 | 0b101)
    at = content.index(b"avcC") - 4
    grown = bytearray(content[:at] + box + content[at:])
    for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"avc1"):
        place = grown.index(name) - 4
        (size,) = struct.unpack_from(">I", grown, place)
        struct.pack_into(">I", grown, place, size + len(box))
    path.write_bytes(grown)
    warned = any("Dolby Vision" in text for text in decode(str(path), EIGHT, WHOLE).warnings)
    assert warned == (profile == 5)


def test_a_picture_of_8192_by_4096_is_read(tmp_path):
    path = tmp_path / "a.avi"
    content = io.BytesIO()
    Image.new("RGB", (8192, 4096), (200, 40, 40)).save(content, "JPEG")
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 8192, 4096, "yuvj420p"
        packet = av.Packet(content.getvalue())
        packet.stream, packet.pts, packet.dts = stream, 0, 0
        packet.time_base = Fraction(1, 25)
        out.mux(packet)
    frames = decode(str(path), SPREAD, SMALL).frames
    assert frames.shape == (1, 8, 128, 128, 3)
    assert frames[..., 0].mean() > 150


@pytest.mark.parametrize("suffix", ["webp", "png", "apng"])
def test_pictures_that_move_are_videos(suffix, tmp_path):
    path = tmp_path / f"a.{suffix}"
    first, *more = [Image.fromarray(barcode(number)) for number in range(30)]
    kind = "WEBP" if suffix == "webp" else "PNG"
    first.save(path, kind, save_all=True, append_images=more, duration=100, lossless=True)
    decoded = decode(str(path), SPREAD, WHOLE)
    assert decoded.decoder == "pillow"
    assert decoded.probe.duration == pytest.approx(3.0)
    found = [read_barcode(frame) for frame in decoded.frames[0]]
    assert np.abs(np.array(found) - [1, 5, 9, 13, 16, 20, 24, 28]).max() <= 1
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(VideoError, match=r"be read") as caught:
        decode(str(path), SPREAD, WHOLE)
    assert caught.value.kind == "cannot_decode"


def test_a_single_picture_is_no_video(tmp_path):
    for kind in ("webp", "png"):
        Image.new("RGB", (64, 64)).save(tmp_path / f"a.{kind}")
        with pytest.raises(VideoError, match="single picture") as caught:
            decode(str(tmp_path / f"a.{kind}"), SPREAD, WHOLE)
        assert caught.value.kind == "no_video_stream"


def test_a_folder_gives_the_webp_files_that_move(tmp_path):
    frames = [Image.fromarray(barcode(number)) for number in range(3)]
    frames[0].save(tmp_path / "moves.webp", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "still.webp")
    assert [Path(video.path).name for video in find_videos([str(tmp_path)])] == ["moves.webp"]


def test_a_folder_of_pictures_is_a_video_of_so_many_a_second(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        for number in range(40):
            # Without leading zeros: the order is that of the numbers.
            Image.fromarray(barcode(number)).save(tmp_path / name / f"frame {number}.png")
    write(tmp_path / "two.mp4", 20)
    found = find_videos([str(tmp_path)], fps=10)
    assert [Path(video.path).name for video in found] == ["one", "two", "two.mp4"]
    with DecodePool(workers=1) as pool:
        one, *_ = pool.decode(found, EIGHT, WHOLE)
    assert isinstance(one, Decoded) and one.decoder == "pillow"
    numbers = [read_barcode(frame) for frame in one.frames[0]]
    assert numbers == [9, 12, 15, 18, 21, 24, 27, 30]
    (tmp_path / "one" / "frame 21.png").write_bytes(b"no picture")
    with pytest.raises(VideoError, match=r"frame 21\.png"):
        decode(str(tmp_path / "one"), EIGHT, WHOLE, fps=10)


def test_encrypted_video_is_an_error_and_no_answer(tmp_path):
    plain = write(tmp_path / "a.mp4", 30, options={"g": "1"})
    content = plain.read_bytes()
    marked = tmp_path / "marked.mp4"
    marked.write_bytes(content.replace(b"avc1", b"encv"))
    garbage = bytearray(content)
    begin = content.index(b"mdat") + 4 + 700  # behind the encoder's message
    end = content.index(b"moov") - 4
    noise = np.random.default_rng(0).integers(0, 256, end - begin, np.uint8)
    garbage[begin : begin + len(noise)] = noise.tobytes()
    unmarked = tmp_path / "unmarked.mp4"
    unmarked.write_bytes(garbage)
    stream = bytearray(write(tmp_path / "a.ts", 60).read_bytes())
    for place in range(188 * 3 + 3, len(stream), 188):
        stream[place] |= 0x80  # "scrambled with the even key"
    scrambled = tmp_path / "scrambled.ts"
    scrambled.write_bytes(stream)
    for path, kind in (
        (marked, "encrypted"),
        (unmarked, "cannot_decode"),
        (scrambled, "encrypted"),
    ):
        with pytest.raises(VideoError, match="encrypted") as caught:
            decode(str(path), SPREAD, WHOLE)
        assert caught.value.kind == kind, path


def test_pictures_lost_without_an_error_are_counted_and_later_ones_in_their_place(tmp_path):
    """HEVC and H.264 with packets made unreadable: the decoder passes over them in silence."""
    for codec in ("libx264", "libx265"):
        path = write(tmp_path / f"{codec}.mp4", 100, codec=codec, fps=25, options={"g": "10"})
        content = bytearray(path.read_bytes())
        with av.open(str(path)) as container:
            places = [
                (packet.pos, packet.size)
                for packet in container.demux(container.streams.video[0])
                if packet.size and packet.pos is not None
            ]
        for number in (33, 34, 35):
            pos, size = places[number]
            content[pos + 4 : pos + min(size, 60)] = b"\xff" * (min(size, 60) - 4)
        path.write_bytes(content)
        for decoder in ("auto", "decord"):
            try:
                decoded = decode(str(path), Sampling(frames=4, stride=30), WHOLE, decoder=decoder)
            except VideoError:
                assert decoder == "decord"
                continue
            for frame, moment in zip(decoded.frames[0], decoded.views[0].times, strict=True):
                found = read_barcode(frame)  # None where the picture is damaged
                assert found is None or abs(found - 25 * moment) <= 4, (codec, decoder)
            assert decoder != "auto" or "is damaged" in " ".join(decoded.warnings)
