"""Measuring the substructure's fraction of the lens's mass."""

from trainers.regression import Regression

Task = Regression(("mass_fraction",))
