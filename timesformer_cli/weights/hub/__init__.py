"""A model's name in, a path on disk out; what is not there is downloaded.

`locate` decides what a name means: a path, a row of the catalogue, a hub id or a timm model.
`remote_files` asks the hub for a repository's files and hashes, `snapshot` places them in the cache
of huggingface_hub, and `download` brings the bytes of one file, over `https` only. `stall` runs all
of it in a thread that is given up when no byte comes.

The one idea: a file appears under its name in the cache only when its bytes have the published
hash. Until then they are in a partial file, which the next try continues. Where no hash is
published, the file begins anew at each try, because nothing could prove that two parts belong
together.
"""
