"""A loaded model put to use: on a device, in a dtype, over streams of videos.

In: what `--model` names, and videos. Out: one result per video, in input order.

1. `open` turns a name into a model that is ready to run (`runnable`): a checkpoint in its fast form
   (`fast/`) or an exported file (`exported/`). The decoders are asked for the first videos before.
2. `predictor` runs that model on batches of uint8 frames; `device_pool` does so on several devices,
   with one process for each.
3. `batching` fills batches with the views of several videos and averages the scores per video.
4. `classify` connects the decoders to all of this and makes the results (`classified`).

The one idea: every step is a generator that holds a bounded number of videos. So the decoders work
beside the model, and memory does not grow with the number of videos. A video that cannot be read
travels through every step as its error, in its place.
"""
