"""The bundled model on the examples: true labels, whatever the coding and the decoder."""

import re
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

import timesformer_cli
from tests.support.clips import write

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.mp4"))
MODEL = "camera-motion"


@pytest.fixture(scope="module")
def model():
    return timesformer_cli.load_model(MODEL)


def truth(path: Path) -> set[str]:
    """The labels that an example's name tells: two where two motions follow one another."""
    names = path.stem.replace("counter_clockwise", "counter-clockwise").replace("_", " ")
    return set(re.split(r" then ", names))


def accepted(path: Path) -> set[str]:
    """What one clip of an example may be called: of two motions that meet in it, unclear, too."""
    return truth(path) | ({"unclear"} if len(truth(path)) == 2 else set())


def tops(paths: list[Path], model) -> dict[str, str]:
    """The best label of each video, by its name."""
    results = list(timesformer_cli.classify(paths, model=model, top_k=1))
    assert [r.status for r in results] == ["ok"] * len(paths)
    return {Path(r.video).stem: r.predictions[0].label for r in results}


def scores(paths: list[Path], model, decoder: str) -> dict[str, np.ndarray]:
    """The scores of every video that this decoder reads, by its name, in label order."""
    results = list(timesformer_cli.classify(paths, model=model, decoder=decoder, top_k=11))
    if {r.error.kind for r in results if r.status == "error"} == {"decoder_missing"}:
        pytest.skip(results[0].error.message)
    return {
        Path(r.video).name: np.array(
            [p.score for p in sorted(r.predictions, key=lambda p: p.index)]
        )
        for r in results
        if r.status == "ok"
    }


def test_there_is_an_example_of_every_label_and_one_of_two_motions(model):
    assert len(EXAMPLES) == 11
    assert set().union(*map(truth, EXAMPLES)) == set(model.labels) - {"unclear"}
    assert sum(path.stat().st_size for path in EXAMPLES) < 2_000_000


def test_every_example_gets_its_true_label(model):
    found = tops(EXAMPLES, model)
    assert not [path.stem for path in EXAMPLES if found[path.stem] not in accepted(path)], found


def test_two_motions_in_sequence_are_seen_one_after_the_other(model):
    path = next(path for path in EXAMPLES if "then" in path.stem)
    (result,) = timesformer_cli.classify(path, model=model, clips=2)
    assert {p.label for p in result.predictions[:2]} == {"pan left", "zoom in"}


CODINGS = {
    "half rate, half size, MPEG-4": ("mpeg4", ".avi", 2, (212, 120)),
    "a third of the rate, VP9": ("libvpx-vp9", ".webm", 3, (320, 180)),
    "full rate, larger, H.264": ("libx264", ".mkv", 1, (640, 360)),
}
# The codecs at their fastest: another stream of the same kind, in a fraction of the work.
QUICK = {
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8"},
    "libx264": {"preset": "ultrafast", "bf": "3"},
}


def recode(path: Path, folder: Path, coding: tuple[str, str, int, tuple[int, int]]) -> Path:
    codec, suffix, step, size = coding
    with av.open(str(path)) as container:
        rate = container.streams.video[0].average_rate
        pictures = [
            frame.reformat(*size, format="rgb24").to_ndarray()
            for number, frame in enumerate(container.decode(video=0))
            if number % step == 0
        ]
    target, fps = folder / f"{path.stem}{suffix}", Fraction(rate) / step
    return write(target, pictures, codec=codec, fps=fps, size=size, options=QUICK.get(codec))


@pytest.mark.parametrize("coding", CODINGS.values(), ids=CODINGS)
def test_every_example_gets_its_true_label_in_another_coding(tmp_path, coding, model):
    found = tops([recode(path, tmp_path, coding) for path in EXAMPLES], model)
    assert not [path.stem for path in EXAMPLES if found[path.stem] not in accepted(path)], found


def test_one_frame_repeated_is_static(tmp_path, model):
    stills = []
    for path in EXAMPLES:
        with av.open(str(path)) as container:
            picture = next(container.decode(video=0)).to_ndarray(format="rgb24")
        target, options = tmp_path / path.name, QUICK["libx264"]
        stills.append(write(target, [picture] * 75, fps=25, size=(426, 240), options=options))
    assert set(tops(stills, model).values()) == {"static"}


@pytest.fixture(scope="module")
def reference(model):
    return scores(EXAMPLES, model, "av")


@pytest.mark.parametrize("decoder", ["decord", "opencv"])
def test_scores_do_not_depend_on_the_decoder(decoder, model, reference):
    found = scores(EXAMPLES, model, decoder)
    assert found.keys() == reference.keys()
    assert max(np.abs(found[name] - reference[name]).max() for name in found) < 0.02


@pytest.mark.slow
@pytest.mark.parametrize("decoder", ["auto", "decord", "opencv"])
def test_real_clips_get_the_same_scores_from_every_decoder_that_reads_them(
    real_clips, decoder, model
):
    # What is left of damaged pictures is each decoder's own affair.
    clips = [path for path in sorted(real_clips.iterdir()) if path.name != "corrupted.mp4"]
    reference, found = (scores(clips, model, name) for name in ("av", decoder))
    assert len(found) > 15
    assert max(np.abs(found[name] - reference[name]).max() for name in found) < 0.02
