"""Measuring the Einstein radius."""

from trainers.regression import Regression

Task = Regression(("einstein_radius",), unit="arcsec")
