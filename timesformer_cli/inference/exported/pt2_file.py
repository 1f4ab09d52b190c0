"""Run a torch.export file that tsf wrote, and refuse any other before torch opens it.

torch.export.load trusts its file: it unpickles, evaluates expressions and calls what the graph
names. So the archive is read here first, and must hold plain tensors and known operators only.
"""

import hashlib
import json
import logging
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch
from torch.utils import _pytree as pytree

from timesformer_cli.errors import WeightsError
from timesformer_cli.inference.exported.manifest import DIGEST, Manifest, changed_since_export
from timesformer_cli.inference.exported.model import ExportedModel, Run
from timesformer_cli.inference.outputs import Floats

MANIFEST = "tsf.json"
GRAPH, SAMPLES = "models/model.json", "data/sample_inputs/model.pt"
TABLES = ("data/weights/model_weights_config.json", "data/constants/model_constants_config.json")
LARGEST_JSON = 64 * 2**20  # bytes
# What a damaged archive, or JSON of another form than ours, leads its readers to.
DAMAGED = (RuntimeError, ValueError, LookupError, TypeError, AttributeError)  # and RecursionError
# Names of all records that an archive of ours may hold.
RECORD = re.compile(
    r"data/(weights/weight|constants/tensor)_\d+|byteorder|archive_format|archive_version|version"
    r"|\.data/(version|serialization_id)|"
    + "|".join(re.escape(name) for name in (GRAPH, SAMPLES, f"extra/{MANIFEST}", *TABLES))
)
STORED = re.compile(r"(weight|tensor)_\d+")
# The operators that our models consist of; another one in a file may do anything.
ATEN = (
    "__and__ __or__ _assert_tensor_metadata abs add add_ alias all amax arange argmax asinh "
    "avg_pool2d cat chunk clamp clone contiguous conv2d conv3d copy_ cos cumsum detach detach_ "
    "div dropout eq expand eye flatten gather ge gelu grid_sampler gt index_select layer_norm le "
    "lift_fresh_copy linear log lt matmul mean meshgrid mul neg new_zeros outer pad permute "
    "pow relu relu_ repeat reshape roll rsqrt rsub scaled_dot_product_attention select "
    "sigmoid silu sin slice softmax split split_with_sizes sqrt square squeeze stack sub sum "
    "sym_size tanh to topk transpose unbind unflatten unsqueeze view where"
)
OPERATOR = re.compile(
    rf"torch\.ops\.aten\.({'|'.join(ATEN.split())})\.\w+|_operator\.(add|floordiv|getitem|mul|sub)"
)
# Sizes in terms of the batch. torch evaluates these texts, so they may hold nothing else.
SIZE = re.compile(
    r"(?:(?:Add|FloorDiv|Integer|Mod|Mul|Symbol)\(|'s\d{1,9}'|positive=True|integer=True"
    r"|-?\d{1,9}|[,) ])+"
)
ARGUMENTS = frozenset(
    "as_bool as_device as_expr as_float as_int as_ints as_layout as_memory_format as_name as_none "
    "as_scalar_type as_string as_sym_int as_sym_ints as_tensor as_tensors".split()
)
# Bytes of an element, by the number that torch.export writes for its dtype.
ITEM_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 2, 7: 4, 8: 8, 12: 1, 13: 2}
# Keys under which code, classes and objects would stand.
EMPTY = frozenset("custom_obj_values guards_code metadata treespec_namedtuple_fields".split())
# The graph's signature: one clip in, one tensor out.
CALL = {
    "in_spec": pytree.treespec_dumps(pytree.tree_structure(((0,), {}))),
    "out_spec": pytree.treespec_dumps(pytree.tree_structure(0)),
}


def open_pt2(path: Path) -> ExportedModel:
    """The model in that file, ready to run; raises WeightsError."""
    manifest = validate_pt2(path)
    try:
        with _silent():
            module = torch.export.load(path).module()
    except Exception as error:  # a damaged archive can make torch raise anything
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise WeightsError(f"{path}: torch refuses it ({reason:.200})") from error
    return ExportedModel(manifest, on_arrays(module))


def on_arrays(module: Callable[[torch.Tensor], torch.Tensor]) -> Run:
    """What runs a module of torch on arrays."""

    def run(clip: npt.NDArray[Any]) -> Floats:
        with torch.inference_mode():
            logits: Floats = module(torch.from_numpy(clip)).numpy()
        return logits

    return run


def seal_pt2(path: Path, manifest: Manifest) -> None:
    """Add to the archive what it says of itself, with the digest of that and of all it holds."""
    digest = _digest(torch._C.PyTorchFileReader(str(path)), manifest.to_strings())
    strings = replace(manifest, digest=digest).to_strings()
    with zipfile.ZipFile(path, "a") as archive:
        root = archive.namelist()[0].split("/")[0]
        record = zipfile.ZipInfo(f"{root}/extra/{MANIFEST}")  # of no date: each export is the same
        archive.writestr(record, json.dumps(strings))


def _digest(archive: Any, strings: Mapping[str, Any]) -> str:
    """The SHA-256 of the records by name, and of the metadata but for the digest itself."""
    taken = hashlib.sha256()
    for name in sorted({*archive.get_all_records()} - {f"extra/{MANIFEST}"}):
        record = archive.get_record(name)
        taken.update(f"{name} {len(record)}\n".encode())
        taken.update(record)
    others = {key: value for key, value in strings.items() if key != DIGEST}
    taken.update(json.dumps(others, sort_keys=True).encode())
    return taken.hexdigest()


def validate_pt2(path: Path) -> Manifest:
    """What the file says of itself, once its graph is known to be one that tsf writes.

    Raises WeightsError for a file that changed since its export, and for anything but tensors,
    sizes and the operators of a model.
    """
    try:
        # The reader of torch.export itself: another one could see other records in a crafted file.
        archive = torch._C.PyTorchFileReader(str(path))
        sizes = [(name, archive.get_record_size(name)) for name in archive.get_all_records()]
        if reason := _strange_record(sizes, path.stat().st_size):
            raise WeightsError(f"{path}: {reason}; refused")
        own = json.loads(archive.get_record(f"extra/{MANIFEST}"))
        strings = own if isinstance(own, dict) else {}
        if DIGEST in strings and strings[DIGEST] != _digest(archive, strings):
            raise changed_since_export(path)
        graph, *tables = (json.loads(archive.get_record(name)) for name in (GRAPH, *TABLES))
    except DAMAGED as error:
        raise WeightsError(f"{path}: not a torch.export file, or a damaged one") from error
    try:
        faults = [*_strange_tensors(tables, dict(sizes)), *_strange_values(graph)]
        scores = _scores_given(graph)
    except DAMAGED as error:
        raise WeightsError(
            f"{path}: its graph or its tables are not of the form that torch.export writes; refused"
        ) from error
    if faults:
        raise WeightsError(f"{path}: {faults[0]}; refused")
    manifest = Manifest.from_strings(strings, path)
    if scores != (classes := manifest.description.config.classes):
        raise WeightsError(f"{path}: it gives {scores} scores and names {classes} classes; refused")
    return manifest


def _strange_record(sizes: list[tuple[str, int]], room: int) -> str:
    """What in the archive `tsf export` does not write, in words; empty where there is nothing."""
    known = dict(sizes)
    if any("aotinductor/" in name for name in known):
        return "it holds machine code, which --model does not run"
    if strange := [name for name in known if not RECORD.fullmatch(name)]:
        return f"'{strange[0]}' in it is no part of an exported model"
    # Two records of one name: what is checked might not be what is loaded.
    if len(known) < len(sizes) or not {GRAPH, SAMPLES, f"extra/{MANIFEST}", *TABLES} <= set(known):
        return "it was not exported by tsf"
    if known[SAMPLES]:
        return "it holds a pickle"
    # torch never compresses records. One larger than the file is a bomb or damage.
    if sum(known.values()) > room or known[GRAPH] > LARGEST_JSON:
        return "it claims more than the file holds"
    return ""


def _strange_tensors(tables: list[Any], records: Mapping[str, int]) -> Iterator[str]:
    """Tensors that are pickled, or larger than the record in which they lie."""
    for table, folder in zip(tables, ("weights", "constants"), strict=True):
        for name, entry in table["config"].items():
            if entry["use_pickle"] is not False or not STORED.fullmatch(entry["path_name"]):
                yield f"'{name}' in it is no plain tensor"
                continue
            meta = entry["tensor_meta"]
            lengths = [size.get("as_int") for size in meta["sizes"]]
            room = records.get(f"data/{folder}/{entry['path_name']}", 0)
            if not all(isinstance(length, int) and length >= 0 for length in lengths):
                yield f"'{name}' has no fixed size"
            elif prod(lengths) * ITEM_BYTES[meta["dtype"]] > room:
                yield f"'{name}' claims more than the file holds for it"


def _scores_given(graph: Any) -> int | None:
    """How many scores a clip gets; None where that is no number."""
    inner = graph["graph_module"]["graph"]
    (output,) = inner["outputs"]
    sizes = inner["tensor_values"][output["as_tensor"]["name"]]["sizes"]
    scores: int | None = sizes[1].get("as_int")
    return scores


@contextmanager
def _silent() -> Iterator[None]:
    """torch logs the traceback of what it refuses; the error that follows says it in one line."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)


def _strange_values(value: Any) -> Iterator[str]:
    """Whatever in the graph is not a size, a tensor or a known operator, each in words.

    Keys are checked at every depth, so it does not matter where in the graph torch reads them.
    """
    if isinstance(value, list):
        for item in value:
            yield from _strange_values(item)
    if not isinstance(value, dict):
        return
    for key, item in value.items():
        if key == "target" and not OPERATOR.fullmatch(str(item)):
            yield f"operator '{item}' is none of a model's"
        elif key == "expr_str" and not SIZE.fullmatch(str(item)):
            yield f"'{item:.80}' is no size"
        elif key.startswith("as_") and key not in ARGUMENTS:
            yield f"'{key}' is no argument of a model's operators"
        elif (key in EMPTY and item) or (key in CALL and item != CALL[key]):
            yield f"'{key}' is not as tsf writes it"
        yield from _strange_values(item)
