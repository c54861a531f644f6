"""Measuring the axion's mass from images with a vortex."""

from trainers.regression import Regression


class Task(Regression):
    target = "axion_mass"
    quantity = "log10 of the axion mass in eV"
    unit = "dex"
