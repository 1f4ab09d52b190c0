"""What the text tower of a model is, whose classes are words that the user gives."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from timesformer_cli.errors import UsageError

LARGEST = {"dim": 16384, "depth": 256, "vocabulary": 10_000_000}  # as in a model's configuration


@dataclass(frozen=True, kw_only=True, slots=True)
class TextConfig:
    """A text tower's architecture, and how its words are compared; raises UsageError if it cannot be."""

    dim: int  # width of a token, and of what a text becomes
    depth: int  # blocks
    heads: int
    mlp_dim: int  # width between the MLP's two maps
    vocabulary: int
    length: int  # the most tokens of a text
    norm_eps: float = 1e-6
    softcap: float = 50.0  # attention's logits stay between this and its negative
    temperature: float = 0.01  # likenesses are divided by it before the softmax
    template: str = "a video of {}."  # of a label

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type is int and not 1 <= value <= LARGEST.get(field.name, 1_000_000):
                raise UsageError(f"text {field.name} is {value}; it must be 1 or more and sane")
            if field.type is float and not 0 < value < 1_000_000:
                raise UsageError(f"text {field.name} is {value}; it must be above 0")
        if self.dim % self.heads or self.dim % 2:
            raise UsageError(
                f"text width {self.dim} must be even and divide into {self.heads} heads"
            )

    @classmethod
    def from_dict(cls, values: Any) -> "TextConfig":
        """The inverse of `asdict`; raises UsageError for unknown fields and wrong types."""
        if not isinstance(values, Mapping):
            raise UsageError(f"configuration field 'text' has the wrong type: {values!r:.80}")
        types = {field.name: field.type for field in fields(cls)}
        for name, value in values.items():
            if name not in types:
                raise UsageError(f"unknown configuration field 'text.{name}'")
            if type(value) is not types[name] and (types[name], type(value)) != (float, int):
                raise UsageError(
                    f"configuration field 'text.{name}' has the wrong type: {value!r:.80}"
                )
        try:
            return cls(**values)
        except TypeError as error:
            raise UsageError(f"configuration field 'text': {error}") from error
