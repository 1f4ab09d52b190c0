"""Benchmark: what attention schemes cost, and how fast models run, on this machine.

Schemes (`run_schemes`): in: names of schemes and clip shapes. Out: one row per configuration.

1. `plan` lists the configurations and refuses impossible ones before anything is measured.
2. `rows` computes what follows from the definition: parameters, multiply-adds, predicted memory.
3. A fresh process per row (`measurer`, `measure_worker`) measures memory in a first run and time in
   later ones (`measure`, `machine`, `live_bytes`).

Models by name (`run_models`): in: checkpoints and exported files. Out: one row per model. All are
held in one process and take turns on one clip.

The one idea: a number carries how it was measured. Rows share no caches, memory or luck, so each
has its own process; a row that runs out of memory ends alone. Rows with noise in them say so.
"""
