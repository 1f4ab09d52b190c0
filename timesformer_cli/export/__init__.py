"""Export: a model as one file that runs without this package.

In: a model and a kind of file (ONNX, torch.export, AOTInductor). Out: the file, and a proof that it
gives the model's answers.

1. `write` takes the model's fast form, traces it at the clip shape asked for and writes the file
   into a hidden folder beside its place. Of ONNX, `repeated` puts in the blocks that were not
   traced, and `quantise` rounds; both make tensors only when they are written.
2. `proof` loads that file as anyone would, runs it in its own runtime and compares its logits with
   those of the model as published.
3. `run` moves the file into its place where they agree, and keeps nothing where they do not.

The one idea: an export is not done until it has run. So a file either appears whole and proven, or
not at all. How such files are opened again is `inference/exported/`.
"""
