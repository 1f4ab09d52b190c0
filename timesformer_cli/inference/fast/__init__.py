"""The fast form of a model: the same function of the same weights, with less work per clip.

In: a model as published (`model/`), a device and a dtype. Out: a `FastModel`, which takes pixels
too and gives the same logits to within rounding.

The one idea: what does not depend on the clip is done once, when the form is made, and what no
answer depends on is not done at all.

- Mean and std of the pixels become part of the patch embedding (`patches`). An extra linear map
  becomes part of the projection before it (`blocks`).
- Class tokens and patches travel as one matrix. A class token's q, k and v are computed once for
  all its groups. The last pass computes nothing that no class token needs.
- Weights are laid out once as the processor multiplies fastest (`linear`), and attention runs on
  the fastest kernel for the device and the dtype (`kernels`).

What was tried, measured and kept stands in docs/performance.md. The form cannot be trained.
"""
