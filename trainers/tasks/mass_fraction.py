"""Measuring the substructure's fraction of the lens's mass."""

from trainers.regression import Regression


class Task(Regression):
    target = "mass_fraction"
    quantity = "mass of the substructure over the lens's"
    unit = ""
