"""The linear map of tokens, whatever axes they are laid out in."""

from torch import Tensor, nn


class TokenLinear(nn.Linear):
    """`nn.Linear` over the last axis as one matrix product with its bias.

    Beyond three axes, or where they are strided, torch's own adds the bias in a pass of its own
    or multiplies group by group, which takes several times as long in bfloat16.
    """

    def forward(self, tokens: Tensor) -> Tensor:
        mapped: Tensor = super().forward(tokens.flatten(0, -2))
        return mapped.view(*tokens.shape[:-1], self.out_features)
