"""Attention schemes that a user types: text in, a `Scheme` and its one canonical text out.

A definition is one or more parts with semicolons between them. A part is a pass, which is a
sentence and the facts behind it, or facts of the whole scheme:

    name=late-time; t h w -> (t) (h w); t h w -> (h w) (t) cls=absent

The text is what a model's configuration holds, so it travels with every checkpoint and export.
"""
