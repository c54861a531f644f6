"""Measuring numbers that the data gives; a study names which, in a copy with a `target`."""

from trainers.regression import Regression

Task = Regression()
