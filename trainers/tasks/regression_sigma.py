"""Measuring numbers that the data gives, and their uncertainty; a study names which, in a copy with a `target`."""

from trainers.regression import Regression

Task = Regression(with_sigma=True)
