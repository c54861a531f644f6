"""Measuring the axion's mass and its uncertainty."""

from trainers.tasks import axion_mass


class Task(axion_mass.Task):
    with_sigma = True
