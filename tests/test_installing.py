"""What is missing is installed from where we came from: on the index our names are others'."""

import json
from importlib import metadata

import pytest

from timesformer_cli import installing

REQUIRES = ["torch>=2.10", "matplotlib>=3.9; extra == 'plot'", 'onnx>=1.18; extra == "onnx"']
REQUIRES += ["onnxruntime[x]>=1.22; extra == 'onnx'", "matplotlib; extra == 'test'"]


class Installed:
    requires = REQUIRES

    def __init__(self, origin):
        self.origin = origin

    def read_text(self, name):
        assert name == "direct_url.json"
        return self.origin and json.dumps(self.origin)


@pytest.fixture
def installed(monkeypatch):
    def as_if(origin):
        monkeypatch.setattr(metadata, "distribution", lambda name: Installed(origin))

    return as_if


@pytest.mark.parametrize("how", [{"editable": True}, {}])
@pytest.mark.parametrize("name", ["checkout", "my checkout", "it's"])
def test_from_a_checkout_it_is_that_checkout(how, name, installed, tmp_path):
    import shlex

    folder = tmp_path / name
    folder.mkdir()
    (folder / "pyproject.toml").touch()
    installed({"url": folder.as_uri(), "dir_info": how})
    words = shlex.split(installing.how_to_install("plot"))
    assert words == ["pip", "install", "-e", f"{folder}[plot]"]


@pytest.mark.parametrize(
    "origin", [None, {"url": "file:///gone/checkout", "dir_info": {}}, {"url": "https://x/y.whl"}]
)
def test_without_one_it_is_package_by_package(origin, installed):
    installed(origin)
    assert installing.how_to_install("plot") == "pip install matplotlib"
    assert installing.how_to_install("onnx") == "pip install onnx onnxruntime"


def test_where_nothing_is_installed_the_folder_is_named(monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", missing)
    assert "pip install -e '.[plot]' in the folder" in installing.how_to_install("plot")


def test_no_message_names_the_index():
    from tests.test_layers import FILES

    assert not [file for file, path in FILES.items() if "timesformer-cli[" in path.read_text()]
