"""How to install what is missing: not from an index, where the names belong to others."""

import json
import re
import shlex
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit

PROJECT = "timesformer-cli"


def how_to_install(extra: str) -> str:
    """The command that adds the packages of one of our extras, such as `plot`.

    From the checkout that we were installed from, where it is still there; else package by package.
    """
    from urllib.request import url2pathname  # loads all of HTTP

    try:
        installed = metadata.distribution(PROJECT)
    except metadata.PackageNotFoundError:
        return f"pip install -e '.[{extra}]' in the folder of tsf's pyproject.toml"
    origin = json.loads(installed.read_text("direct_url.json") or "{}")
    address = urlsplit(origin.get("url", ""))
    checkout = Path(url2pathname(address.path))
    if address.scheme == "file" and (checkout / "pyproject.toml").is_file():
        return f"pip install -e {shlex.quote(f'{checkout}[{extra}]')}"
    packages = (
        re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
        for requirement in installed.requires or ()
        if re.search(rf"""extra == ['"]{extra}['"]""", requirement)
    )
    return " ".join(["pip install", *packages])
