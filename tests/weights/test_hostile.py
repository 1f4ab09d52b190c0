"""Files made to do harm: each refused in one line, nothing executed, nothing huge allocated."""

import builtins
import json
import os
import pickle
import struct
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

from tests.support import clips
from tests.support.models import randomised, tiny
from tests.weights.test_weights import in_layout
from timesformer_cli.errors import WeightsError
from timesformer_cli.weights.layout_tables import OFFICIAL
from timesformer_cli.weights.load import load_model, save_model

linux_only = pytest.mark.skipif(
    sys.platform != "linux", reason="measures memory as Linux counts it"
)


class Calls:
    """Pickles as a call of `function`."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


PAYLOADS = {
    "os.system": lambda trace: Calls(os.system, f"touch {trace}"),
    "eval": lambda trace: Calls(builtins.eval, f"open({str(trace)!r}, 'w')"),
    "exec": lambda trace: Calls(builtins.exec, f"open({str(trace)!r}, 'w')"),
    "torch.hub": lambda trace: Calls(torch.hub.load, "evil/repo", "model"),
    "getattr": lambda trace: Calls(getattr, "text", "upper"),
    "nested pickle": lambda trace: Calls(
        pickle.loads, pickle.dumps(Calls(os.system, f"touch {trace}"))
    ),
    "subprocess": lambda trace: Calls(subprocess.check_call, ["touch", str(trace)]),
}


@pytest.mark.parametrize("suffix", [".pyth", ".bin"])
@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
def test_a_pickle_that_calls_anything_is_refused(tmp_path, payload, suffix):
    trace, path = tmp_path / "ran", tmp_path / f"model{suffix}"
    tensors = in_layout(randomised(tiny()), OFFICIAL)
    torch.save({"model_state": tensors, "cfg": payload(trace)}, path)
    with pytest.raises(WeightsError, match=r"refused: it asks to run") as refusal:
        load_model(str(path))
    assert "\n" not in str(refusal.value)
    assert not trace.exists()


def test_a_bare_pickle_that_is_no_torch_file_is_refused(tmp_path):
    trace, path = tmp_path / "ran", tmp_path / "model.pth"
    path.write_bytes(pickle.dumps(Calls(os.system, f"touch {trace}")))
    with pytest.raises(WeightsError, match=r"model\.pth"):
        load_model(str(path))
    assert not trace.exists()


def test_a_tensor_that_claims_more_than_the_file_holds_is_refused(tmp_path):
    """A stride of 0 makes a terabyte of four bytes."""
    tensors = in_layout(randomised(tiny()), OFFICIAL)
    tensors["head.weight"] = torch.zeros(1).expand(4_000_000, 64)
    torch.save(tensors, tmp_path / "model.pth")
    with pytest.raises(WeightsError, match="claim more bytes"):
        load_model(str(tmp_path / "model.pth"))


@pytest.fixture
def whole(tmp_path):
    """A folder whose weights a test may spoil."""
    save_model(randomised(tiny()), tmp_path / "m")
    return tmp_path / "m"


def _header(path) -> tuple[dict, bytes]:
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def _write(path, header: dict, body: bytes) -> None:
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


def _overlap(header: dict) -> None:
    names = [name for name in header if name != "__metadata__"]
    header[names[1]]["data_offsets"] = header[names[0]]["data_offsets"]


def _outside(header: dict) -> None:
    name = next(name for name in header if name != "__metadata__")
    header[name]["data_offsets"] = [10**12, 10**12 + 4]


def _huge(header: dict) -> None:
    name = next(name for name in header if name != "__metadata__")
    header[name]["shape"] = [2**40, 2**20]


def _dtype(header: dict) -> None:
    name = next(name for name in header if name != "__metadata__")
    header[name]["dtype"] = "F128"


@pytest.mark.parametrize("spoil", [_overlap, _outside, _huge, _dtype])
def test_a_safetensors_header_that_lies_is_refused(whole, spoil):
    path = whole / "model.safetensors"
    header, body = _header(path)
    spoil(header)
    _write(path, header, body)
    with pytest.raises(WeightsError, match="not a whole safetensors file"):
        load_model(str(whole))


def test_a_safetensors_header_that_claims_ten_gigabytes_is_refused(whole):
    path = whole / "model.safetensors"
    path.write_bytes(struct.pack("<Q", 10 * 2**30) + path.read_bytes()[8:])
    with pytest.raises(WeightsError, match="not a whole safetensors file"):
        load_model(str(whole))


@pytest.mark.parametrize("position", [0, 3, 8, 9, 40, 200])
def test_a_flipped_bit_in_the_header_is_refused_or_changes_nothing_silently(whole, position):
    path = whole / "model.safetensors"
    before = load_model(str(whole))[0].state_dict()
    data = bytearray(path.read_bytes())
    data[position] ^= 0x20
    path.unlink()  # the tensors above are mapped from it
    path.write_bytes(data)
    try:
        after = load_model(str(whole))[0].state_dict()
    except WeightsError:
        return
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_tensors_of_another_kind_are_refused_by_name(whole):
    path = whole / "model.safetensors"
    from safetensors.torch import load_file

    tensors = load_file(path)
    tensors["classifier.weight"] = tensors["classifier.weight"].to(torch.int64)
    save_file(tensors, path)
    with pytest.raises(WeightsError, match=r"'classifier\.weight' is of type torch\.int64"):
        load_model(str(whole))


def test_a_huge_configuration_is_not_read(whole):
    with (whole / "config.json").open("a") as file:
        file.truncate(2**30)  # sparse: a gigabyte that takes no room
    with pytest.raises(WeightsError, match="too many"):
        load_model(str(whole))


@linux_only
def test_a_configuration_larger_than_its_weights_costs_no_memory(whole):
    """Sizes are compared before anything is allocated: 1 GB of address space more is enough."""
    config = json.loads((whole / "config.json").read_text())
    (whole / "config.json").write_text(
        json.dumps(
            config | {"hidden_size": 8192, "num_attention_heads": 64, "intermediate_size": 32768}
        )
    )
    code = f"""
import resource, torch
from timesformer_cli.errors import WeightsError
from timesformer_cli.weights.load import load_model
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**30, resource.RLIM_INFINITY))
try:
    load_model({str(whole)!r})
except WeightsError as error:
    print(error)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert "should be" in ran.stdout, ran.stderr


@linux_only
def test_the_memory_a_refusal_takes_is_bounded(tmp_path):
    """A pickle's storages are mapped from the file, never read whole before their shapes fit."""
    import resource

    path = tmp_path / "model.pth"
    torch.save({"cls_token": torch.zeros(1, 1, 64), "junk": torch.zeros(2**27)}, path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(WeightsError):
        load_model(str(path))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # of 512 MB


SPECIAL = {
    "sparse": lambda tensor: tensor.to_sparse(),
    "sparse rows": lambda tensor: tensor.to_sparse_csr(),
    "quantised": lambda tensor: torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8),
    "without data": lambda tensor: tensor.to("meta"),
}


@pytest.mark.filterwarnings("ignore")  # torch says that some of these forms will go
@pytest.mark.parametrize("kind", SPECIAL)
def test_a_tensor_of_a_special_kind_is_refused_in_one_line(kind, tmp_path):
    tensors = in_layout(randomised(tiny()), OFFICIAL)
    tensors["head.weight"] = SPECIAL[kind](tensors["head.weight"])
    path = tmp_path / "model.pyth"
    torch.save({"model_state": tensors}, path)
    command = [sys.executable, "-m", "timesformer_cli", "classify", "clip.mp4", "-m", str(path)]
    clips.write(tmp_path / "clip.mp4", 24)
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 3
    assert ran.stderr.count("\n") == 1 and str(path) in ran.stderr, ran.stderr
