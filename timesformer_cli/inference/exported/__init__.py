"""Models that `tsf export` wrote, checked and run in the place of a checkpoint.

In: an `.onnx` or a `.pt2` file. Out: an `ExportedModel`, which is called as a fast model is.

`scorer` makes scores of its answers with NumPy, so an `.onnx` is run without torch.

The one idea: nothing in a file is trusted. The formats can hold code, paths and pickles, and their
runtimes open what they are given. So each file is first read as plain data. It may hold only
standard operators, plain tensors inside the file (or, for ONNX, in a plain file beside it), and the
inputs and outputs that `tsf export` writes. Only then does a runtime see it. Labels, sampling and
preprocessing come from the file's own metadata (`manifest`), so one file is enough.
"""
