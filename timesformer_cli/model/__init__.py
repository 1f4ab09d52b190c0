"""The network as published: clips go in, logits come out.

A clip `(b t c h w)` is cut into patches (`patches`), each patch is told where it is (`positions`),
and all tokens pass through the blocks (`block`). A block runs the attention passes of the
configuration's scheme, then an MLP. The class token, or the mean of all tokens, gives the logits
(`network`).

The one idea: there is one attention module (`attention`), and a scheme's groupings say which tokens
meet in it. `regroup` and `routing` bring tokens into their groups and back; nothing asks for a
scheme's name. `encoders` has the second transformers that some schemes bring along; `inflate`
starts one model from another's weights.
"""

from timesformer_cli.model.network import TimeSformer

__all__ = ["TimeSformer"]
