"""The contract as OpenAPI 3.1: requests from the commands' options, answers from the dataclasses."""

from typing import Any

from timesformer_cli.schema import definitions
from timesformer_cli.serving.body import PATH, VIDEO
from timesformer_cli.serving.options import RequestReader

PLACE = "#/components/schemas/"
VERBS = {
    "classify": "Say what a video shows.",
    "timeline": "Say what happens when in a video.",
    "embed": "Give a video, or its windows, as vectors.",
}
JSON, LINES = "application/json", "application/jsonl"
# What a request about a video may be refused with.
REFUSALS = {
    "400": "The request is wrong: the message is the command's.",
    "401": "The token is missing or wrong.",
    "403": "The path leads elsewhere than below the server's folder.",
    "408": "The upload took too long.",
    "413": "The video is too large.",
    "415": "The body is neither a form nor JSON.",
    "421": "The server goes by another name.",
    "429": "All places are taken; Retry-After says how many seconds to wait.",
    "500": "The server failed.",
    "503": "The device failed, or the server is about to end.",
    "504": "The answer took too long.",
    "507": "The server's disk is full.",
}
OK = {"type": "object", "properties": {"status": {"const": "ok"}}, "required": ["status"]}


def contract(reader: RequestReader, version: str, *, token: bool) -> dict[str, Any]:
    """What each address takes and answers; `token` says whether requests must know one."""
    plain = {
        "/v1/models": ("models", "Say what the model is.", JSON, _models()),
        "/healthz": ("health", "Say that the process lives.", JSON, OK),
        "/readyz": ("readiness", "Say whether requests are taken.", JSON, OK),
        "/metrics": ("metrics", "Count, in Prometheus's text format.", "text/plain", _TEXT),
        "/openapi.json": ("contract", "This document.", JSON, {"type": "object"}),
        "/": ("page", "A page for browsers.", "text/html", _TEXT),
    }
    names = [*VERBS, "serve-window", "serve-model", "serve-refusal"]
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "tsf serve",
            "version": version,
            "description": "Labels, timelines and vectors of videos, as the commands write them.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": {
            **{f"/v1/{verb}": {"post": _verb(verb, reader)} for verb in VERBS},
            **{path: {"get": _plain(*about)} for path, about in plain.items()},
        },
        "components": {"schemas": definitions(names, PLACE)},
    }
    if token:
        document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        for path, methods in document["paths"].items():
            if path.startswith("/v1/") or path == "/metrics":
                for about in methods.values():
                    about["security"] = [{"token": []}]
    return document


_TEXT = {"type": "string"}


def _verb(verb: str, reader: RequestReader) -> dict[str, Any]:
    options = reader.describe(verb)
    file = {"type": "string", "format": "binary", "description": "The video's file."}
    place = {"type": "string", "description": "A path relative to the folder of --root."}
    result = _content(JSON, _reference(verb))
    if verb == "timeline":
        either = {"anyOf": [_reference("serve-window"), _reference(verb)]}
        result |= _content(LINES, {"type": "string", "contentMediaType": LINES, **_items(either)})
    return {
        "operationId": verb,
        "summary": VERBS[verb],
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {"schema": _object({VIDEO: file, **options}, VIDEO)},
                JSON: {"schema": _object({PATH: place, **options}, PATH)},
            },
        },
        "responses": {
            "200": {"description": "What was found.", "content": result},
            "404": {
                "description": "Nothing is at that path.",
                "content": _content(JSON, _reference(verb)),
            },
            "422": {
                "description": "The video cannot be read.",
                "content": _content(JSON, _reference(verb)),
            },
            **{status: _refusal(status) for status in REFUSALS},
        },
    }


def _plain(name: str, summary: str, kind: str, schema: dict[str, Any]) -> dict[str, Any]:
    answers: dict[str, Any] = {"200": {"description": summary, "content": _content(kind, schema)}}
    refused = ["421"] + (["503"] if name == "readiness" else [])
    refused += ["401"] if name in ("models", "metrics") else []
    answers |= {status: _refusal(status) for status in refused}
    return {"operationId": name, "summary": summary, "responses": answers}


def _refusal(status: str) -> dict[str, Any]:
    content = _content(JSON, _reference("serve-refusal"))
    if status == "403":  # a path may also lead to a file that may not be read
        either = [_reference("serve-refusal"), _reference("classify")]
        content = _content(JSON, {"anyOf": either})
    answer: dict[str, Any] = {"description": REFUSALS[status], "content": content}
    if status == "429":
        answer["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "required": True}}
    return answer


def _models() -> dict[str, Any]:
    return _object({"models": {"type": "array", "items": _reference("serve-model")}}, "models")


def _object(properties: dict[str, Any], required: str) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": [required]}


def _reference(name: str) -> dict[str, Any]:
    return {"$ref": PLACE + name}


def _content(kind: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {kind: {"schema": schema}}


def _items(schema: dict[str, Any]) -> dict[str, Any]:
    """How each line of a text of lines is."""
    return {"description": "A line each.", "contentSchema": schema}
