"""Weights: finding them, reading them safely, other code bases' layouts."""
