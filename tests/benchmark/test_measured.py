"""What `tsf benchmark` measures, in processes of its own that may run out of memory."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from timesformer_cli.benchmark import machine, measure, measure_worker
from timesformer_cli.benchmark.measurer import measurer
from timesformer_cli.cli.app import app
from timesformer_cli.config import ModelConfig
from timesformer_cli.errors import DeviceError

SMALL = ["--size", "tiny", "--image-size", "32", "--frames", "2", "--device", "cpu"]


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """What is measured here is tiny: several threads would only wait for one another."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def tsf(*arguments: str, **environment: str):
    return CliRunner().invoke(app, ["benchmark", *arguments], env=environment)


def test_a_measured_row_has_every_number_and_says_how_it_was_measured():
    ran = tsf(*SMALL, "--attention", "joint", "--runs", "4", "--warmup", "1", "--format", "json")
    assert ran.exit_code == 0, ran.stderr
    report = json.loads(ran.stdout)
    (row,), protocol = report["rows"], report["protocol"]
    assert row["status"] == "ok"
    assert None not in row.values()
    assert row["predicted_peak_bytes"] == pytest.approx(row["measured_peak_bytes"], rel=0.15)
    latency = row["latency_ms"]
    assert 0 < latency["p10"] <= latency["median"] <= latency["p90"]
    assert row["clips_per_second"] == pytest.approx(1000 / latency["median"], rel=0.01)
    speed = row["gflops"] / latency["median"] * 1000
    assert row["gflops_per_second"] == pytest.approx(speed, rel=0.01)
    assert 0 <= row["share_of_peak"] < 1.5
    assert (protocol["device"], protocol["threads"]) == ("cpu", 1)
    assert protocol["torch"] == torch.__version__
    (how,) = protocol["rows"]
    assert (how["runs"], how["warmup"]) == (4, 2), "the run that measures memory warms up too"


def test_training_takes_more_memory_than_inference():
    arguments = [*SMALL, "--attention", "divided", "--runs", "1", "--format", "json"]
    (row,) = json.loads(tsf(*arguments, "--train", "--dtype", "float32").stdout)["rows"]
    assert row["status"] == "ok"
    assert row["measured_peak_bytes"] > 2 * 4 * row["parameters"], "weights and their gradients"
    assert row["predicted_peak_bytes"] == pytest.approx(row["measured_peak_bytes"], rel=0.15)


def test_checkpointed_gradients_take_less_memory_and_more_work():
    arguments = ["--size", "tiny", "--image-size", "64", "--batch-size", "4", "--device", "cpu"]
    arguments += ["--attention", "divided", "--runs", "1", "--warmup", "0", "--dtype", "float32"]
    plain, lean = (
        json.loads(tsf(*arguments, "--train", *more, "--format", "json").stdout)
        for more in ([], ["--checkpoint-gradients"])
    )
    assert (plain["protocol"]["checkpoint_gradients"], plain["rows"][0]["status"]) == (False, "ok")
    assert (lean["protocol"]["checkpoint_gradients"], lean["rows"][0]["status"]) == (True, "ok")
    beside, less = (
        row["measured_peak_bytes"] - 2 * 4 * row["parameters"]  # weights and their gradients
        for row in (*plain["rows"], *lean["rows"])
    )
    assert less < beside / 2
    for row, times in ((*plain["rows"], 3), (*lean["rows"], 3.8)):
        assert row["predicted_peak_bytes"] == pytest.approx(row["measured_peak_bytes"], rel=0.05)
        assert row["gflops_per_second"] / row["clips_per_second"] == pytest.approx(
            times * row["gflops"], rel=0.03
        )


def test_a_row_over_the_limit_is_oom_unasked_and_the_others_go_on():
    arguments = ["--attention", "joint,space", "--frames", "4", "--runs", "1", "--warmup", "0"]
    arguments += ["--size", "tiny", "--image-size", "224", "--kernel", "math", "--device", "cpu"]
    began = time.monotonic()
    ran = tsf(*arguments, "--memory-limit", "38MB", "--dtype", "float32", COLUMNS="120")
    assert ran.exit_code == 0, ran.stderr
    assert time.monotonic() - began < 60
    joint, space = (
        line for line in ran.stdout.splitlines() if line.startswith(("joint  ", "space  "))
    )
    assert "OOM" in joint and "OOM" not in space
    assert "predicted to need more than the limit" in ran.stdout


def job(**changes):
    config = ModelConfig.of_size("small", attention="joint", frames=16)
    base = {"config": config.to_dict(), "batch_size": 1, "kernel": "math", "runs": 1, "warmup": 0}
    plain = {"train": False, "checkpoint_gradients": False, "compile": False, "limit_bytes": None}
    return {**base, **plain, **changes}


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_what_is_counted_is_most_of_what_the_process_grows_by():
    """The rest: masks and packed copies inside operators, and blocks that came back too late."""
    config = ModelConfig.of_size("small", attention="joint", depth=1)
    with measurer("cpu", "float32", False) as process:
        answer = process.measure(job(config=config.to_dict(), batch_size=4))
    assert answer["peak_bytes"] > 400e6
    assert 0.95 < answer["resident_growth"] / answer["peak_bytes"] < 1.6


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit of address space")
def test_a_row_that_outgrows_its_limit_ends_in_its_own_process():
    """The prediction is left out: this is the net under it."""
    with measurer("cpu", "float32", False) as process:
        answer = process.measure(job(batch_size=4, limit_bytes=1 << 20))
    assert answer == {"status": "oom", "reason": "ran out of memory"}


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_a_process_that_is_killed_is_an_oom_row():
    with measurer("cpu", "float32", False) as process:
        os.kill(process.child.pid, signal.SIGKILL)
        answer = process.measure(job())
    assert answer["status"] == "oom"
    assert "SIGKILL" in answer["reason"]


def test_another_failure_is_said_and_is_no_oom():
    with measurer("cpu", "float32", False) as process:
        answer = process.measure(job(kernel="math", batch_size=-1))
    assert answer["status"] == "failed"
    assert answer["reason"].startswith("RuntimeError: ")


def test_a_device_that_is_not_there_is_one_line_and_exit_code_4():
    ran = tsf(*SMALL, "--device", "cuda:99")
    assert (ran.exit_code, ran.stdout) == (4, "")
    assert "cuda:99" in ran.stderr and ran.stderr.count("\n") == 1


def test_noise_is_told_by_spread_by_company_and_by_too_few_runs():
    quiet = [1.0, 1.01, 1.02, 1.01, 1.0]
    assert measure._noise(quiet, *measure.percentiles(quiet), 0.0) == ""
    shaky = [1.0, 1.3, 1.0, 1.3, 1.0]
    assert "of the median" in measure._noise(shaky, *measure.percentiles(shaky), 0.0)
    assert "other work took 20%" in measure._noise(quiet, *measure.percentiles(quiet), 0.2)
    assert measure._noise([1.0], *measure.percentiles([1.0]), None) == "1 run only"


def test_percentiles_are_ordered_and_the_median_is_in_the_middle():
    assert measure.percentiles([3.0, 1.0, 2.0]) == pytest.approx((1.2, 2.0, 2.8))


def test_on_cuda_the_allocator_says_the_peak_and_sets_the_limit(monkeypatch):
    """As far as it goes without one: that torch is asked, and what is made of its answers."""
    limits = []
    cuda = {
        "memory_allocated": lambda device: 1000,
        "reset_peak_memory_stats": lambda device: None,
        "max_memory_allocated": lambda device: 5000,
        "get_device_properties": lambda device: type("Card", (), {"total_memory": 16 << 30}),
        "set_per_process_memory_fraction": lambda share, device: limits.append(share),
        "mem_get_info": lambda device: (3, 16 << 30),
        "get_device_name": lambda device: "a card",
    }
    for name, answer in cuda.items():
        monkeypatch.setattr(torch.cuda, name, answer)
    device = torch.device("cuda", 0)
    asked = measure.Job(
        config=ModelConfig.of_size("tiny"),
        device=device,
        dtype=torch.float32,
        batch_size=1,
        kernel="auto",
        runs=1,
        warmup=0,
        train=False,
        checkpoint_gradients=False,
        compile=False,
    )
    ran = []
    assert measure._peak(asked, None, None, lambda: ran.append(1)) == 5000
    assert ran == [1]
    measure_worker._confine(4 << 30, device)
    assert limits == [0.25]
    assert (machine.free_bytes(device), machine.device_name(device)) == (3, "a card")
    assert measure_worker._is_memory(torch.cuda.OutOfMemoryError("CUDA out of memory"))


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_ctrl_c_ends_the_measuring_process_and_leaves_no_file(tmp_path):
    output = tmp_path / "out.json"
    command = [sys.executable, "-m", "timesformer_cli", "benchmark", "--attention", "joint"]
    command += ["--frames", "32", "--device", "cpu", "--runs", "50", "-o", str(output)]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children")
    deadline = time.monotonic() + 60
    while not (measuring := children.read_text().split()) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=10)
    assert (running.returncode, said) == (130, "interrupted\n")
    assert measuring and not Path(f"/proc/{measuring[0]}").exists()
    assert not list(tmp_path.iterdir())


def test_a_device_error_of_the_child_is_one_of_ours():
    with pytest.raises(DeviceError, match="cuda:99"), measurer("cuda:99", "auto", False):
        pass
