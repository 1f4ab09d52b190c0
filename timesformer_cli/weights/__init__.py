"""A model's name in, a `TimeSformer` with weights out; also the way back, to a folder.

1. `hub.locate`: the name becomes a file or folder on disk, downloaded and hashed where needed.
2. `tensors`: read the file. Nothing in it is executed, and sizes are checked before memory is used.
3. `layout_tables`: see from the names of the tensors which code base wrote them.
4. `description`: read from the JSON files what the model is. `infer_config` reads it from the
   shapes of the tensors where there are no JSON files, and `catalogue` fills in the rest, as
   `assumed` says.
5. `model_folder`: give each tensor our name and check it. One that is missing, left over or of a
   wrong shape is an error: a model must never run on half of its weights.
6. `load`: build the network on the meta device and assign the tensors, so that they are in memory
   once.
"""
