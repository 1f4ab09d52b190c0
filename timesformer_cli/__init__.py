"""Video classification with TimeSformer: `tsf` on the command line, and from Python."""

import logging
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Classifier", "__version__", "classify", "load_model", "timeline"]

if TYPE_CHECKING:
    from timesformer_cli.api import Classifier, classify, load_model, timeline

logging.getLogger(__name__).addHandler(logging.NullHandler())  # whoever wants to hear us says so


def __getattr__(name: str) -> Any:
    # torch is imported when something is asked for, not when the package is.
    if name in ("Classifier", "classify", "load_model", "timeline"):
        from timesformer_cli import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
