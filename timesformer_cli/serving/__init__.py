"""One warm model behind HTTP: a video or its place goes in, the command's JSON comes out.

A request passes, in this order: `guard` (whose it is), `places` (whether there is room), `body` (the
upload, onto the disk, or a path below the root), the command line's own reading of its options, and
`engine`, whose threads wait for decoders and share the model's batches. Each has until its deadline.
What is wrong with a request is a `Refused`, which carries its status.
"""
