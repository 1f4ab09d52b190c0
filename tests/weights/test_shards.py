"""Models in several weight files, from a folder and from the hub."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.support.hub import COMMIT, serving
from tests.support.models import randomised, tiny
from tests.weights.test_weights import same
from timesformer_cli.errors import WeightsError
from timesformer_cli.weights.hub import download as fetching
from timesformer_cli.weights.hub import locate as names
from timesformer_cli.weights.load import load_model, save_model
from timesformer_cli.weights.revision import revision_of

REPO = "org/model"


def split(folder: Path, suffix: str = "safetensors", count: int = 3) -> dict:
    """Share the weights of a folder out over files, as large models are published."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    stem = "model" if suffix == "safetensors" else "pytorch_model"
    places = {}
    for number in range(count):
        shard = f"{stem}-{number + 1:05}-of-{count:05}.{suffix}"
        part = dict(list(tensors.items())[number::count])
        save = save_file if suffix == "safetensors" else torch.save
        save(part, folder / shard)
        places |= dict.fromkeys(part, shard)
    index = {"metadata": {"total_size": 1}, "weight_map": places}
    (folder / f"{stem}.{suffix}.index.json").write_text(json.dumps(index))
    return index


@pytest.fixture
def model():
    return randomised(tiny())


@pytest.fixture
def folder(tmp_path, model):
    save_model(model, tmp_path / "m")
    return tmp_path / "m"


def rewrite(folder: Path, index: dict) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
@pytest.mark.parametrize("count", [1, 3])
def test_shards_of_both_kinds_load(folder, model, suffix, count):
    split(folder, suffix, count)
    assert same(load_model(str(folder))[0], model)


def test_the_revision_of_shards_changes_with_any_of_them(folder):
    split(folder)
    before = revision_of(names.locate(str(folder)))
    shard = folder / "model-00003-of-00003.safetensors"
    tensors = load_file(shard)
    save_file({name: tensor + 1 for name, tensor in tensors.items()}, shard)
    assert revision_of(names.locate(str(folder))) != before


def no_shard(folder, index):
    (folder / "model-00002-of-00003.safetensors").unlink()


def outside(folder, index):
    rewrite(folder, {"weight_map": index["weight_map"] | {"norm": "../m/x.safetensors"}})


def hidden(folder, index):
    rewrite(folder, {"weight_map": index["weight_map"] | {"norm": ".."}})


def itself(folder, index):
    rewrite(folder, {"weight_map": index["weight_map"] | {"norm": "model.safetensors.index.json"}})


def elsewhere(folder, index):
    moved = "classifier.bias"
    others = sorted(set(index["weight_map"].values()) - {index["weight_map"][moved]})
    rewrite(folder, {"weight_map": index["weight_map"] | {moved: others[0]}})


def unlisted(folder, index):
    del index["weight_map"]["classifier.bias"]
    rewrite(folder, index)


def twice(folder, index):
    place = index["weight_map"]["classifier.bias"]
    other = next(name for name in sorted(index["weight_map"].values()) if name != place)
    tensors = load_file(folder / other)
    save_file(tensors | {"classifier.bias": torch.zeros(5)}, folder / other)


def no_map(folder, index):
    rewrite(folder, {"metadata": {}})


def no_json(folder, index):
    (folder / "model.safetensors.index.json").write_text("{")


def empty(folder, index):
    rewrite(folder, {"weight_map": {}})


FAULTS = {
    no_shard: "no model-00002-of-00003.safetensors in it, which model.safetensors.index.json",
    outside: r"names '\.\./m/x.safetensors'; shards must be files beside it",
    hidden: r"names '\.\.'",
    itself: "names 'model.safetensors.index.json'",
    elsewhere: "tensor 'classifier.bias', which model.safetensors.index.json says is",
    unlisted: "holds a tensor 'classifier.bias'.*no file",
    twice: "holds a tensor 'classifier.bias'",
    no_map: "no weight_map in it",
    no_json: "not readable as JSON",
    empty: "names 0 files",
}


@pytest.mark.parametrize("spoil", FAULTS)
def test_shards_that_are_not_as_the_index_says_are_refused(folder, spoil):
    spoil(folder, split(folder))
    with pytest.raises(WeightsError, match=FAULTS[spoil]) as refusal:
        load_model(str(folder))
    assert str(folder) in str(refusal.value) and "\n" not in str(refusal.value)


@pytest.fixture
def hub(tmp_path, folder, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(fetching, "PAUSES", (0.01,) * 4)
    (tmp_path / "served" / "org").mkdir(parents=True)
    shutil.copytree(folder, tmp_path / "served" / REPO)
    with serving(tmp_path / "served") as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.endpoint)
        template = server.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield server


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_shards_come_from_the_hub_once_and_verified(hub, tmp_path, model, suffix):
    split(hub.root / REPO, suffix)
    cache = tmp_path / "cache"
    located = names.locate(REPO, cache_dir=cache)
    assert same(load_model(located)[0], model)
    asked = len(hub.asked)
    assert names.locate(REPO, cache_dir=cache, offline=True).path == located.path
    assert len(hub.asked) == asked
    checked = names.verify_files(REPO, cache_dir=cache)
    assert len(checked) == 6 and {file.state for file in checked} == {"ok"}


def test_a_shard_that_has_changed_in_the_cache_is_refused_and_fetched_again(hub, tmp_path, model):
    split(hub.root / REPO)
    cache = tmp_path / "cache"
    located = names.locate(REPO, cache_dir=cache)
    shard = located.path / "model-00002-of-00003.safetensors"
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.resolve().write_bytes(content)
    with pytest.raises(WeightsError, match="not what was published"):
        load_model(located)
    bad = [file for file in names.verify_files(REPO, cache_dir=cache) if file.state == "bad"]
    assert [file.file.name for file in bad] == [shard.name]
    assert same(load_model(names.locate(REPO, cache_dir=cache))[0], model)


def test_a_snapshot_that_lacks_a_shard_is_completed(hub, tmp_path, model):
    split(hub.root / REPO)
    cache = tmp_path / "cache"
    hub.faults["GET", "model-00003-of-00003.safetensors"] = [404] * 9
    with pytest.raises(WeightsError):
        names.locate(f"{REPO}@{COMMIT}", cache_dir=cache)
    assert names.cached(f"{REPO}@{COMMIT}", cache_dir=cache) is None
    hub.faults.clear()
    assert same(load_model(names.locate(f"{REPO}@{COMMIT}", cache_dir=cache))[0], model)


def test_a_repository_without_one_of_its_shards_is_named(hub, tmp_path):
    split(hub.root / REPO)
    (hub.root / REPO / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"has no model-00002-of-00003\.safetensors, which its"):
        names.locate(REPO, cache_dir=tmp_path / "cache")


def test_an_index_from_the_hub_that_leads_elsewhere_is_refused(hub, tmp_path):
    outside(hub.root / REPO, split(hub.root / REPO))
    with pytest.raises(WeightsError, match="shards must be files beside it"):
        names.locate(REPO, cache_dir=tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("x.safetensors"))
