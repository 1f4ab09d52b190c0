"""Whether what a command printed is what `tsf schema` says of it."""

from typing import Any

from jsonschema import Draft202012Validator

from timesformer_cli.schema import schema_document


def require_valid(name: str, value: Any) -> None:
    """Fail where a result breaks its schema, or has a field that the schema does not know."""
    document = schema_document(name)
    Draft202012Validator(document).validate(value)
    assert next(iter(value)) == "schema"
    del document["properties"], document["required"]
    for kind in document["$defs"].values():
        if "properties" in kind:
            kind["additionalProperties"] = False
    rest = {field: part for field, part in value.items() if field != "schema"}
    Draft202012Validator(document).validate(rest)
