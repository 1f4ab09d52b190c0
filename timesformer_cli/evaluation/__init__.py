"""Evaluation: how often a model is right on labelled videos, and what it confuses with what.

In: labelled videos and one or two models. Out: one verdict per video, and scores per model; with
two models also how they differ.

1. Before any video is decoded, match the labels to each model's classes and check the protocol.
2. Let `inference.classify` classify the videos: the path of `tsf classify`, and no second one.
3. Judge each result against its label (`verdicts`), then count: `dataset.metrics` does the
   arithmetic.

The one idea: everything is counted from the list of verdicts. A video that cannot be read has a
verdict too. It is listed with its reason and counts in no share.
"""
