"""Videos as vectors: what the model's head sees of each clip, to compare, search and learn from.

1. `embed`: a vector for each video, or for each window of it, with where it is from.
2. `write`: vectors in a file that other programs read: JSON lines, NumPy, Parquet.
3. `store`: a library, a folder that grows by what is new; `fill` says what that is.
4. `search`: what in a library is like a vector or has a label; `summary`: what there is.
"""
