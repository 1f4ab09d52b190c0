"""docs/weights.md says of each field of transformers' classes what becomes of it, as the code does."""

import dataclasses
import json
import re
from pathlib import Path

import pytest
from transformers import (
    LlavaOnevisionVideoProcessor,
    TimesformerConfig,
    VideoMAEConfig,
    VideoMAEImageProcessor,
    VideoMAEVideoProcessor,
    VideoPrismTextConfig,
    VideoPrismVisionConfig,
    VivitConfig,
    VivitImageProcessor,
    VJEPA2Config,
    VJEPA2VideoProcessor,
)
from transformers.models.timesformer.video_processing_timesformer import TimesformerVideoProcessor
from transformers.models.vivit.video_processing_vivit import VivitVideoProcessor
from transformers.processing_utils import ImagesKwargs, VideosKwargs

from timesformer_cli.weights import transformers_config, transformers_processor

PAGE = (Path(__file__).parents[2] / "docs" / "weights.md").read_text(encoding="utf-8")
CONFIGS = (
    TimesformerConfig,
    VivitConfig,
    VideoMAEConfig,
    VJEPA2Config,
    VideoPrismVisionConfig,
    VideoPrismTextConfig,
)
PROCESSORS = (
    VideoMAEImageProcessor,
    VideoMAEVideoProcessor,
    VivitImageProcessor,
    VivitVideoProcessor,
    TimesformerVideoProcessor,
    VJEPA2VideoProcessor,
    LlavaOnevisionVideoProcessor,
)


def table(number: int) -> dict[str, set[str]]:
    """What a table of the page says: the names in each of its rows."""
    section = re.findall(r"(?:^\|.*\n)+", PAGE, re.MULTILINE)[number]
    rows = re.findall(r"^\| ([\w ]+) \| (.*) \|$", section, re.MULTILINE)
    return {what: set(re.findall(r"`(\w+)`", fields)) for what, fields in rows[1:]}


@pytest.mark.parametrize("kind", CONFIGS, ids=lambda kind: kind.__name__)
def test_every_field_of_a_configuration_is_in_the_table(kind):
    fields = {field.name for field in dataclasses.fields(kind)}
    fields |= {name for name in json.loads(kind().to_json_string(use_diff=False)) if name[0] != "_"}
    assert fields <= set().union(*table(0).values())


@pytest.mark.parametrize("kind", PROCESSORS, ids=lambda kind: kind.__name__)
def test_every_field_of_a_processor_is_in_the_table(kind):
    accepted = {*VideosKwargs.__annotations__, *ImagesKwargs.__annotations__, *kind().to_dict()}
    assert accepted <= set().union(*table(1).values())


def test_the_table_of_configurations_is_the_code():
    said, families = table(0), [*transformers_config.FAMILIES.values()]
    families += [tower for family in families for tower in family.towers.values()]
    read = {*transformers_config.TRANSLATED}
    read |= {name for family in families for name in (*family.keys.values(), *family.translated)}
    fixed = {name for family in families for name in family.required}
    unused = {name for family in families for name in family.unused}
    assert said["honoured"] | said["one value only"] >= read | fixed
    assert said["without effect"] - {"null", "_"} <= transformers_config.WITHOUT_EFFECT | unused
    assert said["refused by name"] >= set(transformers_config.REFUSED)


def test_the_table_of_processors_is_the_code():
    said = table(1)
    defaults = {name for row in transformers_processor.DEFAULTS.values() for name in row}
    assert said["honoured"] | said["one value only"] >= defaults | set(transformers_processor.KINDS)
    assert said["without effect"] - {"null"} == transformers_processor.WITHOUT_EFFECT
    assert not said["refused by name"] & (defaults | transformers_processor.WITHOUT_EFFECT)
    assert all(f"`{kind}`" in PAGE for kind in transformers_processor.DEFAULTS)
