"""The comparison with peers: what it counts, how it takes turns, and that its contenders run."""

import importlib.util
import json
import sys

import av
import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from scripts.peers import compare, decoding
from scripts.peers import processes as peers_processes
from scripts.peers import products as peers_products
from scripts.peers.contender import CONTENDERS, made_frames, relative_flops
from scripts.peers.decoding import compare_decoders, repeat_clip
from scripts.peers.models import FIELD, agreement, compare_models
from scripts.peers.processes import EXAMPLES
from scripts.peers.products import product_rates, useful_macs
from scripts.peers.turns import Spread, alternate, spread
from tests.support.models import randomised, tiny
from timesformer_cli import cost
from timesformer_cli.config import ModelConfig
from timesformer_cli.errors import DeviceError
from timesformer_cli.inference.fast.model import FastModel

CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path):
    """Random weights that every contender can read."""
    compare.save_random(tiny(), tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("shape", [{}, {"frames": 4, "height": 32, "depth": 3}], ids=str)
def test_useful_operations_are_those_of_the_inference_form(shape):
    config = tiny(**shape)
    form, frames = FastModel(randomised(config)), torch.from_numpy(made_frames(config, 1))
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        form(frames)
    assert 2 * useful_macs(config) == counter.get_total_flops()


def test_of_the_published_operations_a_tenth_is_not_useful():
    config = ModelConfig.of_size("base")
    assert useful_macs(config) / cost.macs(config).total == pytest.approx(0.892, abs=1e-3)


def test_a_relative_of_the_same_width_takes_more_operations():
    pytest.importorskip("timesformer_pytorch")
    config = ModelConfig.of_size("base")
    assert relative_flops(config) > 2 * cost.macs(config).total


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
def test_every_linear_map_of_a_block_has_a_rate(dtype):
    rates = product_rates(tiny(), dtype, CPU)
    assert len(rates) == 4
    assert all(1e7 < rate < 1e14 for rate in rates)


def test_products_that_the_processor_lacks_are_left_out_and_said(monkeypatch, capsys):
    monkeypatch.setattr(peers_products, "packs_weights", lambda dtype: False)
    monkeypatch.setattr(peers_products, "has_int8_maps", lambda device: False)
    assert len(product_rates(tiny(), "bfloat16", CPU)) == 4
    assert "left out: packed bfloat16 products" in capsys.readouterr().err
    with pytest.raises(DeviceError, match="cpu multiplies no int8"):
        product_rates(tiny(), "int8", CPU)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_contenders_score_the_same_clips(folder, dtype):
    pytest.importorskip("transformers")
    pytest.importorskip("timesformer_pytorch")
    frames = made_frames(tiny(), 3)
    scores = {}
    for name in ("tsf", "transformers", "timesformer-pytorch"):
        with torch.inference_mode():
            scores[name] = CONTENDERS[name](folder, dtype, CPU, frames)().tolist()
    assert {np.shape(values) for values in scores.values()} == {(3, 5)}
    _, ours = agreement(scores["tsf"], scores["transformers"])
    _, other = agreement(scores["timesformer-pytorch"], scores["transformers"])
    assert ours < (1e-4 if dtype == "float32" else 0.2) < other


def test_agreement_counts_labels_and_measures_logits_by_their_deviation():
    logits = torch.tensor([[0.0, 2.0, 4.0], [3.0, 1.0, 2.0]])
    swapped = logits[:, [0, 2, 1]]
    same, difference = agreement(logits.softmax(1).tolist(), (logits + 7).softmax(1).tolist())
    assert (same, difference) == (2, pytest.approx(0, abs=1e-5))
    same, difference = agreement(swapped.softmax(1).tolist(), logits.softmax(1).tolist())
    deviation = (logits - logits.mean(dim=1, keepdim=True)).std(correction=0)
    assert (same, difference) == (1, pytest.approx(2 / float(deviation), rel=1e-4))


def test_contenders_take_turns_and_warming_up_is_not_counted():
    order = []

    def contender(name):
        return lambda: order.append(name) or len(order)

    done = alternate({"a": contender("a"), "b": contender("b")}, runs=2, warmup=1, doing="")
    assert order == list("ababab")
    assert done == {"a": [3, 5], "b": [4, 6]}


def test_a_spread_is_the_median_the_fastest_and_the_slowest():
    assert spread([3.0, 1.0, 2.0, 9.0]) == Spread(2.5, 1.0, 9.0)


def test_models_are_compared_in_processes_and_a_missing_peer_is_named(
    folder, tmp_path, monkeypatch, capfd
):
    pytest.importorskip("transformers")
    (tmp_path / "timesformer_pytorch.py").write_text("raise ImportError('not on this machine')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # what runs is tiny: threads would only wait
    rows, peaks = compare_models(
        folder, device="cpu", dtypes=["float32"], batch_sizes=[2], runs=2, warmup=0
    )
    assert "left out: timesformer-pytorch float32: not on this machine" in capfd.readouterr().err
    ours, theirs = rows
    assert (ours.contender, theirs.contender) == ("tsf", "transformers")
    assert theirs.times_default == theirs.times_same_dtype == 1
    assert (ours.times_fastest, theirs.times_fastest) == (ours.times_same_dtype, None)
    assert ours.times_default == pytest.approx(theirs.seconds.median / ours.seconds.median)
    assert (ours.same_top1, ours.batch_size) == (2, 2)
    assert ours.logit_difference < 1e-4
    assert ours.useful_gflops == 2 * useful_macs(tiny()) / 1e9
    rate = 2 * ours.useful_gflops * 1e9 / ours.seconds.median
    assert ours.share_of_peak == pytest.approx(rate / peaks["float32"])
    if sys.platform == "linux":
        assert min(ours.peak_bytes, theirs.peak_bytes) > 50e6


def test_a_command_is_timed_with_the_memory_of_all_below_it():
    inner = "import time; held = bytearray(150_000_000); time.sleep(0.3)"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}]); print(1)"
    ran = peers_processes.run([sys.executable, "-c", outer])
    assert ran.seconds > 0.3
    if sys.platform == "linux":
        assert ran.peak_bytes > 150e6


@pytest.mark.parametrize(
    ("code", "said"), [("raise SystemExit('no such thing')", "no such thing"), ("", "said nothing")]
)
def test_a_command_that_fails_or_does_not_answer_is_an_error(code, said):
    with pytest.raises(peers_processes.CommandFailed, match=said):
        peers_processes.run([sys.executable, "-c", code])


def test_a_pipeline_that_cannot_run_is_named_and_left_out(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(peers_processes, "PIPELINE", "raise SystemExit('no decoder')")
    commands = peers_processes.commands(tmp_path, "cpu", tmp_path, ["clip.mp4"])
    assert list(commands) == ["tsf"]
    assert "no decoder" in capsys.readouterr().err


def test_the_made_clip_is_ten_seconds_in_the_size_kinetics_is_kept_at(tmp_path):
    with av.open(peers_processes.make_clip(tmp_path / "clip.mp4")) as clip:
        (stream,) = clip.streams
        assert (stream.width, stream.height, stream.frames) == (340, 256, 300)
        assert stream.duration * stream.time_base == 10


def test_the_report_is_markdown_on_stdout_and_json_in_a_file(tmp_path, monkeypatch, capsys):
    file = tmp_path / "report.json"
    arguments = ["--only", "help", "--size", "tiny", "--runs", "2", "--json", str(file)]
    monkeypatch.setattr(sys, "argv", ["compare.py", *arguments])
    compare.main()
    (row,) = json.loads(file.read_text())["processes"]
    assert (row["what"], row["contender"]) == ("help", "tsf")
    shown = capsys.readouterr().out
    assert "machine " in shown and f"| help | tsf |  | {row['seconds']['median']:.2f} (" in shown


def test_a_clip_is_repeated_without_being_encoded_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(decoding, "REPEATS", 3)
    clip = min(EXAMPLES.glob("*.mp4"), key=lambda path: path.stat().st_size)
    with av.open(clip) as once, av.open(repeat_clip(clip, tmp_path / "long.mp4")) as long:
        first, every = ([*video.decode(video=0)] for video in (once, long))
    assert len(every) == 3 * len(first)
    for number, frame in enumerate(every):
        given = first[number % len(first)]
        np.testing.assert_array_equal(frame.to_ndarray(), given.to_ndarray())
    steps = np.diff([frame.time for frame in every])
    assert steps.min() > 0.5 * steps.mean()


def test_every_decoder_reads_the_moments_it_is_asked_for(tmp_path, monkeypatch):
    """The picture shown at each moment, as our own reader takes them."""
    monkeypatch.setattr(decoding, "REPEATS", 3)
    clip = min(EXAMPLES.glob("*.mp4"), key=lambda path: path.stat().st_size)
    path = repeat_clip(clip, tmp_path / "long.mp4")
    with av.open(path) as video:
        frames = [(frame.time, frame.to_ndarray(format="rgb24")) for frame in video.decode(video=0)]
    moments = [frames[len(frames) // 2 + 8 * number][0] + 0.001 for number in range(8)]
    expected = [[kept for time, kept in frames if time <= moment][-1] for moment in moments]
    np.testing.assert_array_equal(decoding._pyav(path, moments), expected)


def test_decoders_are_compared_and_a_missing_one_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(decoding, "REPEATS", 3)
    monkeypatch.setitem(sys.modules, "torchcodec", None)
    clip = min(EXAMPLES.glob("*.mp4"), key=lambda path: path.stat().st_size)
    rows = compare_decoders(clip, tmp_path, runs=1, warmup=0)
    assert "left out: torchcodec" in capsys.readouterr().err
    assert [(row.where, row.contender) for row in rows] == [
        (where, name) for where in ("middle", "end") for name in ("tsf", "PyAV")
    ]
    assert all(0 < row.cpu_seconds.median < 5 and row.times_default is None for row in rows)


def test_a_page_keeps_what_other_classes_of_processors_measured(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# Speed\n\nWords.\n")
    for title, text in (("AMX", "first"), ("AVX2", "other"), ("AMX", "second")):
        compare.put_section(page, title, text)
    written = page.read_text()
    assert written.startswith("# Speed\n\nWords.\n\n<!-- measured: AMX -->\n## Measured on AMX\n")
    assert written.count("## Measured on") == 2
    assert "second" in written and "other" in written and "first" not in written


@pytest.mark.slow
def test_a_whole_run_has_every_part(tmp_path, monkeypatch):
    file = tmp_path / "report.json"
    arguments = ["--size", "tiny", "--runs", "1", "--warmup", "0", "--batches", "1"]
    monkeypatch.setattr(sys, "argv", ["compare.py", *arguments, "--json", str(file)])
    compare.main()
    report = json.loads(file.read_text())
    names = {(row["contender"], row["dtype"]) for row in report["models"]}
    left_out = {name for name in all_of(FIELD) if name[0] == "OpenVINO"}  # an extra of nobody's
    assert names | left_out == all_of(FIELD)
    # transformers' pipeline reads videos with torchcodec alone, which the tests do not need.
    each = 2 if importlib.util.find_spec("torchcodec") else 1
    processes = [*["cold"] * each, *["folder"] * each, "help"]
    assert [row["what"] for row in report["processes"]] == processes
    assert {row["contender"] for row in report["decoding"]} >= {"tsf", "PyAV"}


def all_of(contenders):
    """Every contender in every dtype that it has."""
    return {(name, dtype) for name, dtypes in contenders.items() for dtype in dtypes}
