"""Training: from labelled clips to a model folder that every other command takes.

In: labelled clips, an initial model and a recipe. Out: the weights of the best epoch with a card,
the history, and a checkpoint that a stopped training goes on from.

1. `check` decodes and hashes every clip once. What cannot be read is listed and left out.
2. `session` puts the parts of one process together: the model, its clips, its settings. `run`
   writes its files.
3. `clips`, `augment` and `samples` make what an epoch sees; `loop` takes the steps; `validate`
   scores what was held out.

The one idea: every draw is a function of the seed and of what it is for (`randomness`). So no state
of a random generator has to be remembered, and a training that was stopped anywhere ends with the
weights that it would have had without the stop.
"""
