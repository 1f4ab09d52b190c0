"""Many videos on many machines: the same work on Ray Data, which schedules, restarts and writes.

1. `inputs`: what the user names, as a table of videos: files, object storage, members of tar shards.
2. `storage`: file systems by URL, and a video's bytes where decoders can open them.
3. `stages`: what runs on actors: decoding in our own children, the model, windows.
4. `cluster`: the cluster, and the pipeline on it.
5. `parts`: what is written, what was written before, and what came of it.
"""
