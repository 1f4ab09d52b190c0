"""Labelled clips, and how well predictions agree with their labels.

A folder (`folders`), a table or a list (`table`), annotations of other tools (`annotations`) or tar
files (`shards`, `shard_clips`) go in; `labelled` makes `LabelledClip` rows (`clip`) of it, each a video or a part of one and a label,
perhaps with a split (`split_names`) and a group. `splits` holds out a part of them for validation,
`label_matching` finds their labels among a model's classes, and `metrics` turns counts of (label,
prediction) into shares and tests.

The one idea: nothing here opens a video, so a faulty table or an unknown label ends a command
before anything is decoded.
"""
