"""The contract: one schema for each result, one kind for each error, and pages that say so."""

import json
import re
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator, ValidationError
from typer.testing import CliRunner

from scripts.docs import api_page
from tests.support.commands import run_command
from tests.support.contract import require_valid
from timesformer_cli.cli.app import app
from timesformer_cli.errors import ErrorKind
from timesformer_cli.schema import RESULTS, definitions, schema_document

TESTS = Path(__file__).parent


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("classify", ["classify", "VIDEO", "missing.mp4", "--model", "MODEL", "--views", "2x1"]),
        ("timeline", ["timeline", "VIDEO", "missing.mp4", "--model", "MODEL", "--windows"]),
        ("explain", ["explain", "VIDEO", "missing.mp4", "--model", "MODEL", "--prove"]),
        ("watch", ["watch", "STREAM", "--model", "MODEL", "--follow", "--idle", "0.1"]),
        ("published", ["benchmark", "--paper"]),
    ],
)
def test_what_a_command_prints_keeps_its_schema(name, arguments, model_folder, tmp_path):
    lines = ["--format", "json" if name == "published" else "jsonl"]
    ran = run_command(arguments + lines, str(model_folder), tmp_path)
    assert ran.stdout, ran.stderr
    said = (
        json.loads(ran.stdout) if name == "published" else map(json.loads, ran.stdout.splitlines())
    )
    for result in said:
        require_valid(name, result)


def test_every_result_is_validated_by_some_test():
    called = re.compile(r'require_valid\("([\w-]+)"|^        \("([\w-]+)", \["', re.MULTILINE)
    found = {
        name
        for path in TESTS.rglob("*.py")
        for names in called.findall(path.read_text())
        for name in names
    }
    assert found >= set(RESULTS)


def test_a_schema_refuses_what_is_no_such_result():
    result = {
        "schema": 1,
        "video": "a",
        "status": "error",
        "error": {"kind": "not_found", "message": ""},
    }
    require_valid("classify", result)
    for wrong in (
        {"schema": 2},
        {"status": "ok"},
        {"error": {"kind": "unheard_of", "message": ""}},
        {"error": {"kind": "not_found"}},
        {"video": None},
        {"more": 1},
    ):
        with pytest.raises(ValidationError):
            require_valid("classify", result | wrong)


def test_all_schemas_make_one_document_that_refers_to_itself_alone():
    ran = CliRunner().invoke(app, ["schema"])
    whole = json.loads(ran.stdout)
    assert whole == schema_document()
    Draft202012Validator.check_schema(whole)
    for place in ("#/$defs/", "#/components/schemas/"):
        every = definitions(RESULTS, place)
        references = set(re.findall(r'"\$ref": "([^"]+)"', json.dumps(every)))
        assert references <= {place + name for name in every}
    assert {option["$ref"] for option in whole["anyOf"]} == {f"#/$defs/{name}" for name in RESULTS}


def test_a_description_is_what_the_dataclass_says_there():
    fields = schema_document("classify")["$defs"]["Classified"]["properties"]
    assert fields["decoder"]["description"] == "the one that read the video"
    assert fields["labels"]["description"].startswith("Of several, those that reach")


def test_what_is_left_out_is_not_required_and_never_null():
    kinds = schema_document("timeline")["$defs"]
    assert "similarity" not in kinds["Prediction"]["required"]
    assert kinds["Prediction"]["properties"]["similarity"]["type"] == "number"
    assert {"type": "null"} in kinds["Segment"]["properties"]["runner_up"]["anyOf"]


def test_a_name_that_is_no_result_is_refused_with_those_there_are():
    ran = CliRunner().invoke(app, ["schema", "evaluation"])
    assert ran.exit_code == 2 and "no result is called 'evaluation'" in ran.stderr


def test_the_page_is_what_the_code_says():
    written = api_page.PAGE.read_text(encoding="utf-8")
    assert written == api_page.page(), "python -m scripts.docs.api_page"
    for kind in ErrorKind:
        assert f"\n| `{kind}` | {kind.meaning} | {kind.advice} |\n" in written


def test_no_kind_is_written_but_as_a_member():
    words = "|".join(kind for kind in ErrorKind if "_" in kind)
    for path in (TESTS.parent / "timesformer_cli").rglob("*.py"):
        if path.name != "errors.py":
            assert not re.findall(rf'"({words})"', path.read_text()), path
