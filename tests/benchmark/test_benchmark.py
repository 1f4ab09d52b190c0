"""`tsf benchmark` as a user meets it: tables, formats, wrong options."""

import csv
import io
import json
import re
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from tests.support.contract import require_valid
from timesformer_cli.cli.app import app
from timesformer_cli.cli.benchmark import parse_bytes
from timesformer_cli.errors import UsageError, WeightsError
from timesformer_cli.inference import process_tuning
from timesformer_cli.schemes import PAPER, SCHEMES

ROW = (
    "attention frames image_size size batch_size tokens comparisons_per_token parameters gmacs "
    "gflops gmacs_split score_elements predicted_peak_bytes measured_peak_bytes latency_ms "
    "clips_per_second gflops_per_second share_of_peak status"
).split()
NESTED = {
    "gmacs_split": ["projections", "attention", "mlp"],
    "latency_ms": ["median", "p10", "p90"],
}
CELLS = [
    cell
    for name in ROW
    for cell in ([f"{name}.{inner}" for inner in NESTED[name]] if name in NESTED else [name])
]
EVERY = ["--no-measure", "--attention", "all", "--frames", "8,16,32,96"]


def tsf(*arguments: str, **environment: str):
    return CliRunner().invoke(app, ["benchmark", *arguments], env=environment)


@pytest.mark.parametrize("arguments", [["--help"], EVERY])
def test_what_needs_no_torch_loads_neither_torch_nor_numpy(arguments):
    code = (
        "import sys, time; began = time.perf_counter()\n"
        "from timesformer_cli.cli.app import app\n"
        f"try: app({['benchmark', *arguments]!r}, prog_name='tsf')\nexcept SystemExit: pass\n"
        "print(time.perf_counter() - began, file=sys.stderr)\n"
        "heavy = ('torch', 'numpy', 'einops', 'matplotlib', 'timm', 'cv2', 'huggingface_hub')\n"
        "print([name for name in heavy if name in sys.modules], file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    seconds, heavy = ran.stderr.splitlines()
    assert heavy == "[]"
    assert float(seconds) < 5, "it takes half a second; anything near this is another order"
    assert "joint" in ran.stdout


@pytest.mark.parametrize("width", [80, 120, 200])
def test_the_table_fits_the_terminal_and_holds_the_published_figures(width):
    ran = tsf(*EVERY, COLUMNS=str(width), NO_COLOR="1")
    assert ran.exit_code == 0, ran.stderr
    assert max(map(len, ran.stdout.splitlines())) <= width
    assert "\x1b" not in ran.stdout
    for figure in ("179.6", "449.7", "1,261.8", "8,135.7", "195.8", "392.1", "785.9", "2,379.9"):
        assert figure in ran.stdout
    assert "joint costs less than divided below 11 frames at 224 px" in ran.stdout
    assert "█" in ran.stdout


def test_json_has_exactly_the_promised_keys():
    ran = tsf(*EVERY, "--format", "json")
    report = json.loads(ran.stdout)
    assert list(report) == ["schema", "protocol", "rows", "crossovers"]
    require_valid("benchmark", report)
    assert {"threads", "dtype", "kernel", "runs", "warmup", "torch", "device_name"} <= set(
        report["protocol"]
    )
    assert len(report["rows"]) == len(report["protocol"]["rows"]) == 4 * len(SCHEMES)
    for row in report["rows"]:
        assert list(row) == ROW
        assert list(row["gmacs_split"]) == NESTED["gmacs_split"]
        assert sum(row["gmacs_split"].values()) == pytest.approx(row["gmacs"])
        assert row["gflops"] == 2 * row["gmacs"]
        assert row["status"] == "skipped"
        assert row["latency_ms"] is row["measured_peak_bytes"] is row["share_of_peak"] is None


def test_csv_and_markdown_carry_the_same_columns():
    report = json.loads(tsf("--no-measure", "--format", "json").stdout)
    rows = list(csv.DictReader(io.StringIO(tsf("--no-measure", "--format", "csv").stdout)))
    assert list(rows[0]) == CELLS
    assert [row["attention"] for row in rows] == list(PAPER)
    assert rows[2]["gmacs_split.mlp"] == str(report["rows"][2]["gmacs_split"]["mlp"])
    assert rows[2]["latency_ms.median"] == ""
    markdown = tsf("--no-measure", "--format", "markdown").stdout.splitlines()
    assert [cell.strip() for cell in markdown[0].strip("|").split("|")] == CELLS
    assert len(markdown[2].strip("|").split("|")) == len(CELLS)


@pytest.mark.parametrize("suffix", ["json", "csv", "md", "txt"])
def test_output_takes_its_format_from_its_suffix(tmp_path, suffix):
    path = tmp_path / f"out.{suffix}"
    ran = tsf("--no-measure", "-o", str(path))
    assert (ran.exit_code, ran.stdout) == (0, "")
    start = {"json": "{\n", "csv": "attention,", "md": "| attention", "txt": "    "}[suffix]
    assert path.read_text().startswith(start)
    assert list(tmp_path.iterdir()) == [path]


ERRORS = {
    "unknown scheme": (["--attention", "diagonal"], 2, "space, joint, divided, sparse, axial"),
    "unknown scheme, groups": (["--attention", "diagonal"], 2, "two-pathway; paper and all"),
    "no scheme": (["--attention", ","], 2, "--attention is empty"),
    "frames 0": (["--frames", "8,0"], 2, "from 1, such as 8,16; got '0'"),
    "frames beyond reason": (["--frames", "5000"], 2, "no scheme takes 5000 frames"),
    "frames nonsense": (["--frames", "many"], 2, "got 'many'"),
    "picture size": (["--image-size", "225"], 2, "patch, 16 px; nearest: 224 and 240"),
    "tiny picture": (["--image-size", "8"], 2, "nearest: 16"),
    "sparse, odd grid": (
        ["--attention", "sparse", "--image-size", "336"],
        2,
        "sparse at 8 frames of 336 px: ",
    ),
    "sparse, odd grid, what fits": (
        ["--attention", "sparse", "--image-size", "336"],
        2,
        "the nearest that do are 20 and 22; 8 frames of 320 px would fit",
    ),
    "sparse, odd frames": (
        ["--attention", "sparse", "--frames", "7"],
        2,
        "the nearest that do are 6 and 8; 8 frames of 224 px would fit",
    ),
    "memory limit": (["--memory-limit", "lots"], 2, "such as 8GiB or 500MB; got 'lots'"),
    "plot suffix": (["--plot", "out.gif"], 2, ".png, .svg, .pdf"),
    "plot folder": (["--plot", "no/such/out.png"], 2, "does not exist"),
    "output folder": (["-o", "no/such/out.json"], 2, "cannot be written"),
    "explain": (["--explain", "diagonal"], 2, "space, joint, divided, sparse, axial"),
    "checkpointing alone": (["--checkpoint-gradients"], 2, "give --train as well"),
    "size": (["--size", "enormous"], 2, "enormous"),
    "runs": (["--runs", "0"], 2, "runs"),
}


@pytest.mark.parametrize(("options", "code", "words"), ERRORS.values(), ids=ERRORS)
def test_a_wrong_option_is_one_line_and_its_exit_code(options, code, words):
    ran = tsf("--no-measure", *options)
    assert ran.exit_code == code
    assert ran.stdout == ""
    assert words in ran.stderr
    assert "Traceback" not in ran.stderr


def test_of_all_schemes_one_that_does_not_fit_is_skipped_in_words():
    ran = tsf("--no-measure", "--frames", "7", "--format", "json")
    rows = {row["attention"]: row for row in json.loads(ran.stdout)["rows"]}
    assert rows["sparse"]["status"] == "skipped" and rows["sparse"]["gmacs"] is None
    assert rows["divided"]["gmacs"] > 0
    assert "7 frames do not divide" in tsf("--no-measure", "--frames", "7").stdout


@pytest.mark.parametrize(
    ("attention", "names"),
    [
        ([], [*PAPER]),
        (["--attention", "paper"], [*PAPER]),
        (["--attention", "vivit-2,paper"], [*PAPER, "vivit-2"]),
        (["--attention", "all"], [*SCHEMES]),
    ],
)
def test_schemes_have_names_together(attention, names):
    rows = json.loads(tsf("--no-measure", *attention, "--format", "json").stdout)["rows"]
    assert [row["attention"] for row in rows] == names


OF_SCHEMES = (
    "--attention joint, --frames 8, --image-size 224, --size base, --kernel auto, --no-measure, "
    "--warmup 0, --memory-limit 8GiB, --train, --checkpoint-gradients, --compile, --plot out.png"
).split(", ")


@pytest.mark.parametrize("said", OF_SCHEMES)
def test_a_model_by_name_is_timed_as_it_is(said):
    ran = tsf("--model", "camera-motion", *said.split())
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert f"--model times what is there; leave out {said.split()[0]}\n" in ran.stderr


def test_a_model_by_name_takes_every_option_that_is_not_a_schemes(tmp_path, monkeypatch):
    monkeypatch.setattr(
        process_tuning, "use_threads", lambda threads: None
    )  # for the whole process
    others = "--batch-size 2 --device cpu --dtype float32 --runs 1 --format json --debug".split()
    others += ["--threads", "1", "--quiet"]
    missing = tmp_path / "missing.onnx"
    ran = tsf("--model", str(missing), *others, "-o", str(tmp_path / "out.json"))
    assert isinstance(ran.exception, WeightsError), ran.stderr
    taken = {one for option in (*OF_SCHEMES, *others) for one in option.split() if one[:2] == "--"}
    known = set(re.findall(r"--[a-z-]+", tsf("--help", COLUMNS="200").stdout))
    beside = {"--model", "--output", "--measure", "--explain", "--paper", "--help"}
    assert known - taken == beside


@pytest.mark.parametrize(
    ("text", "size"),
    [("8GiB", 8 << 30), ("500MB", 500 * 10**6), ("1.5g", 1500 * 10**6), ("4096", 4096)],
)
def test_memory_sizes_are_read_as_people_write_them(text, size):
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "GiB", "-1GiB", "8 potatoes", "0", "1e9", "iB"])
def test_other_memory_sizes_are_refused(text):
    with pytest.raises(UsageError, match="8GiB"):
        parse_bytes(text)
