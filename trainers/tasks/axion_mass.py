"""Measuring the axion's mass from images with a vortex."""

from trainers.regression import Regression

Task = Regression(("axion_mass",), unit="eV", log=True)
