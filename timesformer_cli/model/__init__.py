"""The network: one attention, patch embeddings, positions, blocks."""

from timesformer_cli.model.network import TimeSformer

__all__ = ["TimeSformer"]
