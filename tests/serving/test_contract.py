"""The contract is valid OpenAPI, and all that a client needs to know."""

import json

import jsonschema
import pytest
from openapi_spec_validator import validate

from tests.support import clips
from tests.support.serving import client_of, server_of, started_engine


@pytest.fixture(scope="module")
def engine(model_folder):
    with started_engine(model_folder) as engine:
        yield engine


@pytest.fixture
def client(engine, tmp_path):
    clips.write(tmp_path / "clip.mp4", 40)
    return client_of(server_of(engine, tmp_path / "uploads", root=tmp_path, version="1.2"))


class ClientOfContract:
    """A client that knows nothing but the contract: addresses, bodies and answers are read off it."""

    def __init__(self, http):
        self.http, self.contract = http, http.get("/openapi.json").json()
        self.calls = {
            about["operationId"]: (method, path, about)
            for path, methods in self.contract["paths"].items()
            for method, about in methods.items()
        }

    def call(self, name, file=None, **values):
        """Send what the contract has a place for, and check the answer as it says."""
        method, path, about = self.calls[name]
        how = {}
        if "requestBody" in about:
            kind = "application/json" if file is None else "multipart/form-data"
            properties = about["requestBody"]["content"][kind]["schema"]["properties"]
            assert set(values) <= set(properties), "the contract has no such option"
            if file is None:
                self.check(about["requestBody"]["content"][kind]["schema"], values)
                how = {"json": values}
            else:
                (part,) = [n for n, p in properties.items() if p.get("format") == "binary"]
                how = {"files": {part: ("clip.mp4", file)}, "data": values}
        answer = self.http.request(method.upper(), path, **how)
        content = about["responses"][str(answer.status_code)]["content"]
        kind = answer.headers["content-type"].partition(";")[0]
        schema = content[kind]["schema"]
        if kind == "application/json":
            self.check(schema, answer.json())
            return answer.json()
        if kind == "application/jsonl":
            lines = [json.loads(line) for line in answer.text.splitlines()]
            for line in lines:
                self.check(schema["contentSchema"], line)
            return lines
        return answer.text

    def check(self, schema, value):
        """As the contract says, with its own components."""
        whole = {**schema, "components": self.contract["components"]}
        jsonschema.Draft202012Validator(whole).validate(value)


@pytest.mark.parametrize("token", [None, b"0123456789abcdef"])
def test_the_contract_is_valid_openapi(engine, tmp_path, token):
    client = client_of(server_of(engine, tmp_path / "uploads", token=token, version="1.2"))
    contract = client.get("/openapi.json").json()
    validate(contract)
    assert ("securitySchemes" in contract["components"]) == (token is not None)


def test_a_client_of_the_contract_alone_gets_every_answer(client, tmp_path):
    written = ClientOfContract(client)
    video = (tmp_path / "clip.mp4").read_bytes()
    best = written.call("classify", video, top_k="1", views="2x1")["predictions"]
    assert len(best) == 1
    assert written.call("classify", path="clip.mp4", top_k=2)["status"] == "ok"
    assert written.call("classify", b"no video")["error"]["kind"] == "cannot_decode"
    assert written.call("classify", path="missing.mp4")["error"]["kind"] == "not_found"
    assert written.call("classify", path="../clip.mp4")["error"]["kind"] == "forbidden"
    assert written.call("classify", video, frames="no")["error"]["kind"] == "usage"
    assert written.call("timeline", path="clip.mp4", every=0.5, windows=True)["windows"]
    assert len(written.call("timeline", path="clip.mp4", every=0.3, format="jsonl")) > 2
    assert len(written.call("embed", path="clip.mp4", every=0.3)["embeddings"]) > 1
    assert written.call("models")["models"][0]["labels"] == list("abcde")
    assert written.call("health") == written.call("readiness") == {"status": "ok"}
    assert "tsf_requests_total" in written.call("metrics")
    assert written.call("page").startswith("<!DOCTYPE html>")
    assert written.call("contract") == written.contract


def test_the_options_have_the_types_and_limits_of_the_commands(client):
    post = client.get("/openapi.json").json()["paths"]["/v1/timeline"]["post"]
    options = post["requestBody"]["content"]["application/json"]["schema"]["properties"]
    assert options["top_k"] == {
        "type": "integer",
        "description": "Labels of each window; for --windows.",
        "minimum": 1,
        "default": 5,
    }
    assert options["format"]["enum"] == ["json", "jsonl"]
    assert options["cuts"] == {
        "type": "boolean",
        "description": options["cuts"]["description"],
        "default": True,
    }
    assert {"from", "to", "every"} < set(options)
